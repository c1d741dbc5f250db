import { z } from "zod";
import { json } from "../../kernel/json.ts";
import { modelMessage } from "../../kernel/model-messages.ts";
import { remoteUsage } from "./contract.ts";

const count = z.int().min(0);
const id = z.string().min(1).max(200);

/** What a remote agent is sent with `PUT /runs/{id}`. Fields that it does not know it ignores. */
export const remoteRun = z.object({
  /** The same as in the path: the run's tenant and id, unique over all tenants. */
  id,
  tenant: z.string(),
  runId: z.string(),
  agent: z.string(),
  version: z.int(),
  /** When nobody waits for the run any more. */
  deadline: z.iso.datetime(),
  /** What it may use up before it is cut off. */
  limits: z.object({ steps: count, tokens: count, nanos: count.optional() }),
  /** The conversation so far; the last message is what is asked. */
  messages: z.array(modelMessage).min(1),
  /** JSON Schema of `output`, where the agent's answer has a shape. */
  outputSchema: z.record(z.string(), json).optional(),
  /** Where to call back with the token, where the agent may. */
  api: z.object({ url: z.url(), permissions: z.array(z.string()) }).optional(),
});
export type RemoteRun = z.infer<typeof remoteRun>;

/** Names of errors: `crm.unavailable`. */
const code = z.string().regex(/^[a-z][a-z0-9_.-]{0,99}$/, "must be lower-case letters, digits, _ . -");

/** The data of a remote agent's events, by their type. Others are ignored, and so are fields that are not here. */
export const remoteEvents = {
  /** Something said on the way. It is added to the conversation. */
  message: z.object({ text: z.string().min(1).max(100_000) }),
  /** What was used so far. */
  usage: remoteUsage,
  /** The answer. Nothing comes after it. */
  completed: z.object({ text: z.string().max(100_000), output: json.optional(), usage: remoteUsage.optional() }),
  /** It cannot be done. Nothing comes after it. */
  failed: z.object({ code, message: z.string().max(1_000), usage: remoteUsage.optional() }),
} as const;

export type RemoteEvent = {
  readonly [K in keyof typeof remoteEvents]: {
    readonly type: K;
    /** Its number in the run; absent where the agent gave none. */
    readonly id: number | undefined;
    readonly data: z.infer<(typeof remoteEvents)[K]>;
  };
}[keyof typeof remoteEvents];

/** What `POST /runs/{id}/cancel` is sent. */
export const remoteCancel = z.object({ reason: z.string() });

/** What `GET /health` answers with 200: it takes runs. */
export const remoteHealth = z.object({
  status: z.literal("up"),
  /** Which build it is, for people. */
  version: z.string().max(200).optional(),
});

/** What a refusal (4xx, 5xx) may say, as problem details (RFC 9457). */
export const remoteProblem = z.object({ code });

/** One event, in bytes: more of it is not read. */
export const LARGEST_EVENT = 1_000_000;
/** All that comes over one connection, in bytes. */
export const LARGEST_STREAM = 50_000_000;
/** Messages of one run. */
export const MOST_MESSAGES = 1_000;
