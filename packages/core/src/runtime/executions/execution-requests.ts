import { z } from "zod";
import { toInstant } from "../../kernel/clock.ts";
import { CorruptData, NotFound } from "../../kernel/errors.ts";
import type { ExecutionEngine } from "../../kernel/execution-engine.ts";
import type { NewExecution } from "../../kernel/executions.ts";
import type { Ids } from "../../kernel/ids.ts";
import { json } from "../../kernel/json.ts";
import { principalSchema } from "../../kernel/principal.ts";
import { type Json, type JsonObject, tryParse } from "../../kernel/schema.ts";
import type { SentCommand } from "../../kernel/sent-command.ts";
import type { CallInfo } from "../call-info.ts";

const id = z.string();
const started = z.strictObject({
  ...{ id, definition: z.string(), version: z.int(), input: json, principal: principalSchema },
  ...{ correlationId: z.string(), causationId: z.string(), traceparent: z.string(), startedAt: z.int() },
});
const request = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("start"), execution: started }),
  z.strictObject({ type: z.literal("signal"), id, signal: z.strictObject({ name: z.string(), payload: json }) }),
  z.strictObject({ type: z.literal("retry"), id, at: z.int() }),
]);
/** What a commit asks of an engine that keeps executions elsewhere. */
export type ExecutionRequest =
  | { readonly type: "start"; readonly execution: NewExecution }
  | { readonly type: "signal"; readonly id: string; readonly signal: { readonly name: string; readonly payload: Json } }
  | { readonly type: "retry"; readonly id: string; readonly at: number };

// No operation of a contract is called so.
const NAME = "$execution";
/** For how long something may come before what it is for, which was sent before it. */
const BEFORE_MS = 60_000;

/** The request as it lies in the outbox until the engine has it. */
export function executionMessage(context: string, call: CallInfo, ids: Ids, asked: ExecutionRequest): SentCommand {
  const { principal, startedAt, correlationId, causationId, trace } = call;
  const { tenant, actor, onBehalfOf, limitedTo, credential } = principal;
  return {
    ...{ id: ids.next("cmd"), tenant, context, operation: `${context}.${NAME}`, time: toInstant(startedAt) },
    input: JSON.parse(JSON.stringify(asked)) as JsonObject,
    ...{ actor, onBehalfOf, limitedTo, credential, correlationId, causationId, traceparent: trace.traceparent },
  };
}

export function isExecutionRequest({ context, operation }: SentCommand): boolean {
  return operation === `${context}.${NAME}`;
}

/**
 * Hands a request to the engine.
 *
 * @param now milliseconds since 1970
 * @throws {NotFound} there is no such execution yet: what begins it may be on its way
 * @throws {CorruptData} the message is none of ours
 */
export async function deliverRequest(engine: ExecutionEngine, message: SentCommand, now: number): Promise<void> {
  const { tenant, context, input, operation } = message;
  const parsed = tryParse(request, input);
  if (!parsed.ok) throw new CorruptData({ subject: `A message for ${operation}`, issues: [...parsed.issues] });
  const asked = parsed.value as ExecutionRequest;
  if (asked.type === "start") return engine.start(context, asked.execution);
  const scope = { tenant, context };
  const known =
    asked.type === "signal"
      ? await engine.signal(scope, asked.id, asked.signal)
      : await engine.retry(scope, asked.id, asked.at);
  if (!known && now < Date.parse(message.time) + BEFORE_MS) throw new NotFound({ type: "execution", id: asked.id });
}
