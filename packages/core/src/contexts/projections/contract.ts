import { z } from "zod";
import { action, defineContract } from "../../kernel/contract.ts";
import { defineError } from "../../kernel/errors.ts";

const projection = z
  .string()
  .regex(/^[a-z][a-z0-9_]{0,39}\.[a-z][a-z0-9_]{0,39}$/, "must read like `orders.by_customer`");
const reference = z.strictObject({ projection });
const count = z.int().min(0);

const generation = z.object({
  generation: z.int(),
  /** The version of the definition that its rows are made by. */
  version: z.int(),
  /** `serving` is what queries read; `building` is becoming that. */
  status: z.enum(["building", "serving"]),
  startedAt: z.iso.datetime(),
  /** By context that it follows, the position in that context's log up to which events are applied. */
  positions: z.record(z.string(), count),
  /** Events behind these positions, of whatever type; 10 000 stands for as many or more. */
  lag: count,
  /** The event that it cannot get past. */
  stopped: z
    .object({
      eventId: z.string(),
      eventType: z.string(),
      context: z.string(),
      position: z.int(),
      reason: z.string(),
      attempts: z.int(),
      time: z.iso.datetime(),
    })
    .optional(),
});

const projectionView = z.object({
  projection,
  /** The version of the definition in the process that answers. */
  version: z.int(),
  paused: z.boolean(),
  generations: z.array(generation),
});

export type ProjectionView = z.infer<typeof projectionView>;

/** A generation of the rows is being built already. */
export class ProjectionRebuilding extends defineError("projections.rebuilding", {
  kind: "conflict",
  details: z.object({ projection: z.string() }),
  message: ({ projection: name }) => `The projection "${name}" is being rebuilt already.`,
}) {}

const contract = defineContract("projections", {
  list: action({
    input: z.strictObject({}),
    output: z.object({ items: z.array(projectionView) }),
    permission: "projections:read",
    repeatable: true,
    summary: "Lists the projections with how far they are, what holds them up, and what is being rebuilt.",
  }),
  pause: action({
    input: reference,
    permission: "projections:write",
    target: "projection",
    repeatable: true,
    summary: "Has no more events applied to a projection until it is resumed; its rows can be read meanwhile.",
  }),
  resume: action({
    input: reference,
    permission: "projections:write",
    target: "projection",
    repeatable: true,
    summary: "Has a projection that was paused, or has stopped at an event, go on from where it is.",
  }),
  rebuild: action({
    input: reference,
    output: z.object({ generation: z.int() }),
    permission: "projections:write",
    target: "projection",
    errors: [ProjectionRebuilding],
    repeatable: "handler",
    summary: "Has a projection's rows made again from the first event on; the present ones are read until then.",
  }),
});

export interface Projections extends Readonly<typeof contract> {}
/** Read models that are made of events. They hold rows of all tenants, so only the system principal may manage them. */
export const projections: Projections = contract;
