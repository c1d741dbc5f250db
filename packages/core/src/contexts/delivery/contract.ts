import { z } from "zod";
import { command, defineContract, query } from "../../kernel/contract.ts";
import { jsonObject } from "../../kernel/json.ts";
import { pageOf, paging } from "../../kernel/paging.ts";

const id = z.string().min(1).max(200);
const contextName = z.string().min(1).max(40);
const instant = z.iso.datetime();

/** What becomes of times that are missed; once when it says nothing. */
const catchUp = z.enum(["all", "none"]).optional();
const scheduled = z.object({
  /** The context that has scheduled it. */
  context: contextName,
  /** Its name there: the key of a recurring command, the id of a delayed one. */
  key: id,
  /** What will be called: `notifications.deliver`. */
  operation: z.string(),
  /** When it is due next. */
  dueAt: instant,
  /** How it comes again; absent when it is sent once. */
  recurrence: z
    .union([
      z.object({ cron: z.string(), timeZone: z.string(), catchUp }),
      z.object({ everyMs: z.int().min(1), catchUp }),
    ])
    .optional(),
  /** As whom it will be called. */
  actor: z.object({ type: z.enum(["user", "service", "agent", "system"]), id }),
  onBehalfOf: z.object({ type: z.enum(["user", "service"]), id }).optional(),
  scheduledAt: instant,
});

const letterRef = z.strictObject({ context: contextName, consumer: id, messageId: id });
/** A message that its consumer could not handle. */
const deadLetter = z.object({
  /** Whose event it is, or which context has sent it. */
  context: contextName,
  /** The subscription that could not handle it; of a sent command its operation. */
  consumer: id,
  messageId: id,
  kind: z.enum(["event", "command"]),
  /** Type of the event, `order.placed`; of a sent command its operation. */
  type: z.string(),
  /** The aggregate whose event it is. Its later events wait behind this one, for this consumer only. */
  aggregate: z.object({ type: z.string(), id, version: z.int() }).optional(),
  /** Why it was parked. */
  reason: z.string(),
  /** How often it was tried; 0 when it only stands behind another one. */
  attempts: z.int(),
  parkedAt: instant,
});

const contract = defineContract("delivery", {
  listDeadLetters: query({
    input: z.strictObject({ ...paging, context: contextName.optional(), consumer: id.optional() }),
    output: pageOf(deadLetter),
    permission: "delivery:read",
    http: "GET /dead-letters",
    summary: "Lists messages that a consumer could not handle, context by context, the oldest first.",
  }),
  getDeadLetter: query({
    input: letterRef,
    output: deadLetter.extend({
      /** The event's data; of a sent command its input. */
      data: jsonObject,
    }),
    permission: "delivery:read",
    http: "GET /dead-letters/{context}/{consumer}/{messageId}",
    summary: "Shows a message that a consumer could not handle.",
  }),
  retryDeadLetter: command({
    input: letterRef,
    permission: "delivery:write",
    http: "POST /dead-letters/{context}/{consumer}/{messageId}/retry",
    target: "messageId",
    summary: "Has a message delivered again, with all that is parked of the same aggregate, in their order.",
  }),
  skipDeadLetter: command({
    input: letterRef.extend({ reason: z.string().min(1).max(500) }),
    permission: "delivery:write",
    http: "POST /dead-letters/{context}/{consumer}/{messageId}/skip",
    target: "messageId",
    summary: "Gives a message up for its consumer, for a reason that the audit trail keeps.",
  }),
  redeliver: command({
    input: z.strictObject({
      context: contextName,
      consumer: id,
      /** Events that happened before are left out. */
      since: instant,
      /** The `next` of the call before. */
      after: paging.after,
      limit: z.int().min(1).max(1_000).optional(),
    }),
    output: z.object({ events: z.int(), next: z.string().optional() }),
    permission: "delivery:write",
    http: "POST /redeliveries",
    target: "consumer",
    summary: "Gives a consumer a context's events since a point in time that it has not handled, some at a time.",
  }),
  listScheduled: query({
    input: z.strictObject({ ...paging, context: contextName.optional() }),
    output: pageOf(scheduled),
    permission: "delivery:read",
    http: "GET /scheduled",
    summary: "Lists delayed and recurring commands that wait for their time, the next one first.",
  }),
  cancelScheduled: command({
    input: z.strictObject({ context: contextName, key: id }),
    permission: "delivery:write",
    http: "DELETE /scheduled/{context}/{key}",
    target: "key",
    summary: "Calls off a delayed or recurring command.",
  }),
});

export interface Delivery extends Readonly<typeof contract> {}
/** What waits to be done in a tenant, and what could not be done. */
export const delivery: Delivery = contract;
