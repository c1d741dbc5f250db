/** A host's process that works on runs of an agent, and that a test kills. It prints `ready` once it does. */
import { postgres } from "@armature/adapter-postgres";
import { createArmature } from "@armature/core";
import { ScriptedModel } from "@armature/core/testing";
import { Pool } from "pg";
import { z } from "zod";
import { CALLS, foreman, outsideContext, worker } from "./outside.ts";

const { DATABASE, SERVICE, KEY, MIGRATE } = z
  .object({ DATABASE: z.string(), SERVICE: z.url(), KEY: z.string(), MIGRATE: z.string().optional() })
  .parse(process.env);

/** Asks for the next call, by what the conversation holds: whichever process asks. */
const model = new ScriptedModel(
  Array.from({ length: 10_000 }, () => ({ prompt }: { readonly prompt: readonly { readonly role: string }[] }) => {
    const done = prompt.filter(({ role }) => role === "tool").length;
    if (JSON.stringify(prompt[0]).includes(foreman.instructions))
      return done === 1
        ? { text: "The worker is done.", delayMs: 5 }
        : { toolCalls: [{ id: "ask", name: "ask_worker", arguments: { task: "Do it." } }], delayMs: 5 };
    if (done === CALLS) return { text: "All is done.", delayMs: 5 };
    const name = done % 2 === 0 ? "outside_act" : "outside_note";
    return { toolCalls: [{ id: `call-${done}`, name, arguments: { number: done } }], delayMs: 5 };
  }),
);

const app = await createArmature({
  store: postgres({ pool: new Pool({ connectionString: DATABASE }) }),
  keyEncryptionKey: KEY,
  authorizer: () => true,
  contexts: [outsideContext(SERVICE)],
  agents: [foreman, worker],
  models: { default: model },
  allowedOrigins: [SERVICE],
  executions: { leaseMs: 300, pollMs: 100 },
  ...(MIGRATE === undefined ? {} : { relay: false, executions: false }),
});
if (MIGRATE !== undefined) {
  await app.migrate();
  await app.close();
  process.exit(0);
}
console.log("ready");
