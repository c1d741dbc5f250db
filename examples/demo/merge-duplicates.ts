import { z } from "zod";
import { type Api, Refused } from "./api.ts";
import type { Running } from "./processes.ts";
import { expect, say, seen, step, table } from "./report.ts";
import { demoModel } from "./sales-assistant.ts";

const usage = z.object({
  steps: z.number(),
  toolCalls: z.number(),
  inputTokens: z.number(),
  outputTokens: z.number(),
  nanos: z.number(),
  currency: z.string().optional(),
  stepsWithoutCost: z.number(),
});
const run = z.object({
  runId: z.string(),
  status: z.string(),
  conversationId: z.string(),
  approvals: z.array(z.string()),
  text: z.string().optional(),
  error: z.object({ message: z.string() }).optional(),
  usage,
});
const approval = z.object({
  approvalId: z.string(),
  hash: z.string(),
  status: z.string(),
  shown: z.record(z.string(), z.unknown()),
});
const contacts = z.object({
  result: z.object({ contacts: z.array(z.object({ id: z.string(), email: z.string() })), next: z.string().nullable() }),
});
const messages = z.object({
  items: z.array(z.object({ role: z.string(), content: z.array(z.looseObject({ type: z.string() })) })),
});
const events = z.object({ items: z.array(z.object({ type: z.string(), aggregateId: z.string() })) });
const audit = z.object({
  items: z.array(
    z.object({
      operation: z.string(),
      outcome: z.string(),
      actor: z.object({ type: z.string(), id: z.string() }),
      onBehalfOf: z.object({ type: z.string(), id: z.string() }).optional(),
    }),
  ),
});
const stats = z.object({ accounts: z.record(z.string(), z.object({ contacts: z.number() })) });

interface Scene {
  readonly acme: Api;
  readonly crm: string;
  readonly server: Running;
  readonly restart: () => Promise<Running>;
}

/** An agent finds duplicates, asks before it merges, and is killed while it waits. */
export async function mergeDuplicates({ acme, crm, server, restart }: Scene): Promise<Running> {
  const { scripted } = demoModel();
  step("An agent works on the CRM for ann: reading is free, merging asks a person");
  say(
    scripted
      ? "the model is a scripted one; with OPENAI_API_KEY or ARMATURE_MODEL_URL it is a real one"
      : "a real model is asked",
  );
  const { connectors } = await connectorsOf(acme);
  const email = await aDuplicate(acme, connectors);
  const before = await contactsIn(crm);
  const { runId } = await acme(z.object({ runId: z.string() }), "POST", "/agents/runs", {
    body: { agent: "sales-assistant", input: `Merge the duplicates of ${email}.` },
    idempotencyKey: "merge-duplicates",
  });
  const waiting = await until(acme, runId, ({ status }) => status !== "running");
  expect(
    waiting.status === "suspended",
    `The run is ${waiting.status}: ${waiting.error?.message ?? waiting.text ?? ""}`,
  );
  const asked = await Promise.all(waiting.approvals.map((id) => acme(approval, "GET", `/approvals/${id}`)));
  for (const { shown } of asked) say(`it asks to merge ${String(shown["duplicateId"])} into ${String(shown["id"])}`);
  expect((await contactsIn(crm)) === before, "Something was merged before anybody approved.");
  seen("the run waits, and nothing was merged");

  await server.end("SIGKILL");
  say(`killed process ${server.pid} while it waits`);
  const again = await restart();
  say(`started again as process ${again.pid}`);
  const decide = ({ approvalId, hash }: z.infer<typeof approval>) =>
    acme(z.object({ status: z.string() }), "POST", `/approvals/${approvalId}/approve`, { body: { hash } });
  const verdicts = await Promise.all(asked.flatMap((each) => [decide(each), decide(each)]));
  expect(
    verdicts.every(({ status }) => status === "approved"),
    "An approval was not taken.",
  );
  const done = await until(acme, runId, ({ status }) => status !== "suspended" && status !== "running");
  expect(done.status === "completed", `The run is ${done.status}: ${done.error?.message ?? ""}`);
  const merged = before - (await contactsIn(crm));
  expect(merged === asked.length, `${merged} contacts were merged, and ${asked.length} should have been.`);
  seen(`approved twice at the same moment: ${merged === 1 ? "the merge was" : `${merged} merges were`} done once`);

  const { items } = await acme(messages, "GET", `/conversations/${done.conversationId}/messages`);
  table(items.map(({ role, content }) => [role, content.map(described).join(", ").slice(0, 100)]));
  const { steps, toolCalls, inputTokens, outputTokens, nanos, currency, stepsWithoutCost } = done.usage;
  const cost =
    stepsWithoutCost > 0 ? "at a cost that is not known" : `for ${(nanos / 1e9).toFixed(6)} ${currency ?? ""}`;
  say(`${steps} steps, ${toolCalls} tool calls, ${inputTokens} tokens in, ${outputTokens} out, ${cost}`);
  const told = await acme(
    events,
    "GET",
    `/audit/events?aggregateType=agent_run&aggregateId=${runId}&direction=asc&limit=200`,
  );
  say(told.items.map(({ type }) => type).join(" → "));
  const rows = (await acme(audit, "GET", "/audit?actor=sales-assistant&limit=200")).items;
  expect(
    rows.length === toolCalls &&
      rows.every(({ actor, onBehalfOf }) => actor.type === "agent" && onBehalfOf?.id === "ann"),
    "The audit trail does not show what the agent did, for whom.",
  );
  table(
    rows.map(({ operation, outcome, actor, onBehalfOf }) => [
      operation,
      outcome,
      `${actor.type}:${actor.id} for ${onBehalfOf?.type}:${onBehalfOf?.id}`,
    ]),
  );
  seen("the conversation went on and ended; each call of the agent stands in the audit, for ann");
  return again;
}

function described(part: { readonly type: string; readonly [key: string]: unknown }): string {
  if (part.type === "text") return String(part["text"]);
  return `${part.type} ${String(part["name"] ?? "")}`;
}

async function connectorsOf(acme: Api) {
  const { items } = await acme(
    z.object({ items: z.array(z.object({ id: z.string() })) }),
    "GET",
    "/connectors?provider=sandbox-crm",
  );
  return { connectors: items[0]!.id };
}

/** An address that two contacts have, in upper and in lower case. */
async function aDuplicate(acme: Api, connectorId: string): Promise<string> {
  const seenBefore = new Set<string>();
  let after: string | undefined;
  for (;;) {
    const { result } = await acme(contacts, "POST", `/connectors/${connectorId}/actions/listContacts`, {
      body: { input: { limit: 100, ...(after === undefined ? {} : { after }) } },
    });
    for (const { email } of result.contacts) {
      if (seenBefore.has(email.toLowerCase())) return email.toLowerCase();
      seenBefore.add(email.toLowerCase());
    }
    expect(result.next !== null, "The CRM has no duplicates.");
    after = result.next;
  }
}

async function contactsIn(crm: string): Promise<number> {
  const { accounts } = stats.parse(await (await fetch(`${crm}/stats`)).json());
  return Object.values(accounts).reduce((sum, account) => sum + account.contacts, 0);
}

async function until(acme: Api, runId: string, holds: (view: z.infer<typeof run>) => boolean) {
  const giveUpAt = Date.now() + 60_000;
  for (;;) {
    const view = await acme(run, "GET", `/agents/runs/${runId}`).catch((error: unknown) => {
      if (error instanceof Refused && error.status >= 500) return undefined;
      throw error;
    });
    if (view !== undefined && holds(view)) return view;
    expect(Date.now() < giveUpAt, `The run ${runId} is still ${view?.status}.`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
