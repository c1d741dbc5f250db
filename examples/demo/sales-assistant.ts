// The agent of the demo, and the model that it asks: a scripted one, or with OPENAI_API_KEY or ARMATURE_MODEL_URL a real one.
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { connectorTools, defineAgent, type LanguageModel, type ToolProvider } from "@armature/core";
import { ScriptedModel } from "@armature/core/testing";
import { z } from "zod";

/** Reads as it likes, and merges what a person has approved. */
export const salesAssistant = (crm: ToolProvider) =>
  defineAgent({
    id: "sales-assistant",
    summary: "Finds duplicate contacts in the CRM and merges them.",
    instructions: [
      "You keep the contacts of a CRM tidy. Two contacts are the same person when their e-mail addresses are the same",
      "but for upper and lower case. Look an address up before you merge, keep the older contact, and merge each",
      "duplicate into it. Answer in one sentence, with what you have done.",
    ].join(" "),
    tools: [connectorTools(crm, ["listContacts", "mergeContacts"])],
    capabilities: ["crm"],
    limits: { steps: 12 },
  });

const environment = z.object({
  OPENAI_API_KEY: z.string().min(1).optional(),
  /** An OpenAI-compatible endpoint: http://127.0.0.1:11434/v1 */
  ARMATURE_MODEL_URL: z.url().optional(),
  ARMATURE_MODEL: z.string().min(1).optional(),
});

/** The model, and what it costs where that is known. */
export function demoModel(): { readonly model: LanguageModel; readonly scripted: boolean } {
  const { OPENAI_API_KEY, ARMATURE_MODEL_URL, ARMATURE_MODEL } = environment.parse(process.env);
  if (OPENAI_API_KEY === undefined && ARMATURE_MODEL_URL === undefined) return { model: scripted(), scripted: true };
  const provider = createOpenAICompatible({
    name: "openai",
    baseURL: ARMATURE_MODEL_URL ?? "https://api.openai.com/v1",
    ...(OPENAI_API_KEY === undefined ? {} : { apiKey: OPENAI_API_KEY }),
  });
  return { model: provider(ARMATURE_MODEL ?? "gpt-5-mini"), scripted: false };
}

const found = z.object({ contacts: z.array(z.object({ id: z.string(), email: z.string() })).min(2) });
const said = z.object({ role: z.string(), content: z.unknown() });
const results = z.array(z.object({ output: z.object({ type: z.string(), value: z.unknown() }) }));

/** Does what the instructions say, by what the conversation holds: no model, and the same in whichever process. */
function scripted(): LanguageModel {
  return new ScriptedModel(
    Array.from({ length: 100 }, () => ({ prompt }: { readonly prompt: readonly unknown[] }) => {
      const messages = prompt.map((message) => said.parse(message));
      const answered = messages.filter(({ role }) => role === "tool").length;
      const usage = { inputTokens: 400 + 150 * messages.length, outputTokens: 40 };
      if (answered === 0) {
        const email = /[\w.+-]+@[\w-]+(?:\.[\w-]+)+/.exec(JSON.stringify(messages.at(-1)))?.[0] ?? "";
        return { toolCalls: [{ name: "sandbox-crm_listContacts", arguments: { email } }], usage };
      }
      const [first] = results.parse(messages.findLast(({ role }) => role === "tool")!.content);
      if (answered === 1) {
        const listed = found.safeParse(first?.output.value);
        if (!listed.success) return { text: `I found no duplicates: ${JSON.stringify(first?.output.value)}`, usage };
        const [kept, ...duplicates] = listed.data.contacts;
        const calls = duplicates.map(({ id }) => ({
          name: "sandbox-crm_mergeContacts",
          arguments: { id: kept!.id, duplicateId: id },
        }));
        return { text: "These are the same person.", toolCalls: calls, usage };
      }
      return { text: "I have merged the duplicate into the older contact.", usage };
    }),
    { provider: "scripted", modelId: "demo" },
  );
}

/** What the scripted model would cost; of a real one the demo does not know. */
export const demoPrices = {
  currency: "USD",
  models: { "scripted/demo": { inputPerMillion: 0.25, outputPerMillion: 2 } },
};
