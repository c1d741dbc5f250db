import { z } from "zod";
import { defineContract, query, stream } from "../../kernel/contract.ts";
import { jsonObject } from "../../kernel/json.ts";
import { pageOf, paging } from "../../kernel/paging.ts";
import { tenantId } from "../../kernel/principal.ts";

const instant = z.iso.datetime();
const id = z.string().min(1).max(200);
const actor = z.object({ type: z.enum(["user", "service", "agent", "system"]), id });
const party = z.object({ type: z.enum(["user", "service"]), id });
const outcome = z.enum(["succeeded", "refused", "failed"]);

const auditRow = z.object({
  id,
  tenant: tenantId,
  context: z.string(),
  time: instant,
  actor,
  onBehalfOf: party.optional(),
  /** Id of what the caller proved itself with: an API key's, `key_01k…`. */
  credential: id.optional(),
  /** `connectors.invoke` */
  operation: z.string(),
  /** What the call was about, where its input names something. */
  target: z.string().optional(),
  outcome,
  /** The error's code, when it did not succeed. */
  errorCode: z.string().optional(),
  /** The input with everything sensitive replaced. */
  input: jsonObject,
  correlationId: z.string(),
  traceId: z.string(),
});

const event = z.object({
  id,
  tenant: tenantId,
  context: z.string(),
  /** `connector.connected` */
  type: z.string(),
  /** Version of the event's data. */
  version: z.int(),
  aggregateType: z.string(),
  aggregateId: z.string(),
  aggregateVersion: z.int(),
  time: instant,
  data: jsonObject,
  actor,
  onBehalfOf: party.optional(),
  correlationId: z.string(),
  causationId: z.string(),
  traceparent: z.string(),
});

const span = {
  /** Inclusive. */
  since: instant.optional(),
  /** Exclusive. */
  until: instant.optional(),
};
const rowFilter = {
  /** The actor's id, of whichever type. */
  actor: id.optional(),
  operation: z.string().min(1).max(200).optional(),
  outcome: outcome.optional(),
  ...span,
};
const types = z.array(z.string().min(1).max(200)).min(1).max(50).optional();
/** `asc` is oldest first. */
const direction = z.enum(["asc", "desc"]).default("desc");

const contract = defineContract("audit", {
  list: query({
    input: z.strictObject({ ...paging, ...rowFilter, direction }),
    output: pageOf(auditRow),
    permission: "audit:read",
    http: "GET /audit",
    summary: "Lists who did what and what came of it, newest first.",
  }),
  export: stream({
    input: z.strictObject(rowFilter),
    output: auditRow,
    permission: "audit:read",
    http: "GET /audit/export",
    summary: "Gives all of the audit trail up to now, oldest first, and ends. A cursor resumes it.",
  }),
  events: query({
    input: z
      .strictObject({
        ...paging,
        types,
        aggregateType: z.string().min(1).max(200).optional(),
        aggregateId: id.optional(),
        direction,
      })
      .refine((input) => (input.aggregateType === undefined) === (input.aggregateId === undefined), {
        message: "aggregateType and aggregateId go together",
      }),
    output: pageOf(event),
    permission: "audit:read",
    http: "GET /audit/events",
    summary: "Lists the tenant's events, newest first, or those of one aggregate.",
  }),
  exportEvents: stream({
    input: z.strictObject({ types, ...span }),
    output: event,
    permission: "audit:read",
    http: "GET /audit/events/export",
    summary: "Gives all of the tenant's events up to now, oldest first, and ends. A cursor resumes it.",
  }),
});

export interface Audit extends Readonly<typeof contract> {}
/** Who did what, and what happened. */
export const audit: Audit = contract;
