import { ArmatureError, defineError } from "@armature/core";
import { z } from "zod";

// None of these holds a key, a value or a text of Redis': it quotes arguments.

/** Redis cannot be reached, or cannot work now. */
export class RedisUnavailable extends defineError("redis.unavailable", {
  kind: "unavailable",
  details: z.object({ reason: z.string() }),
  message: ({ reason }) =>
    `Redis cannot be used now (${reason}); a write that was under way may or may not have happened.`,
}) {}

/** Redis did not answer in time. */
export class RedisTimedOut extends defineError("redis.timed_out", {
  kind: "timeout",
  details: z.object({ timeoutMs: z.number() }),
  message: ({ timeoutMs }) =>
    `Redis did not answer within ${timeoutMs} ms; a write that was under way may or may not have happened.`,
}) {}

/** The user that the client logs in as may not do this. */
export class RedisRefused extends defineError("redis.refused", {
  kind: "forbidden",
  details: z.object({ reason: z.string() }),
  message: ({ reason }) => `Redis refused a command (${reason}): look at the client's user and its rights.`,
}) {}

/** Redis answered with an error that no caller can mend. */
export class RedisFailed extends defineError("redis.failed", {
  kind: "internal",
  details: z.object({ reason: z.string() }),
  message: ({ reason }) => `Redis failed (${reason}).`,
}) {}

/** The streams of a source were made with another number of partitions; two numbers at once would break the order. */
export class RedisPartitionsDiffer extends defineError("redis.partitions_differ", {
  kind: "precondition",
  details: z.object({ source: z.string(), configured: z.number(), actual: z.number() }),
  message: ({ source, configured, actual }) =>
    `The streams of "${source}" have ${actual} partitions, and ${configured} are configured.`,
}) {}

const REFUSED = ["NOAUTH", "WRONGPASS", "NOPERM"];
// Full, loading, a replica, a script that does not end, a disk that cannot be written to: it passes, or somebody mends it.
const PASSING = [
  "LOADING",
  "READONLY",
  "MASTERDOWN",
  "BUSY",
  "TRYAGAIN",
  "CLUSTERDOWN",
  "OOM",
  "MISCONF",
  "NOREPLICAS",
];

/** The word that a reply of Redis' begins with when it is an error; undefined when no reply came. */
export function replyCode(error: unknown): string | undefined {
  return error instanceof Error ? /^([A-Z][A-Z0-9_]+)(?: |$)/.exec(error.message)?.[1] : undefined;
}

/** The typed error for what a client threw. Its text stays behind. */
export function toRedisError(error: unknown): Error {
  if (error instanceof ArmatureError) return error;
  const code = replyCode(error);
  if (code === undefined) {
    const { code: reason = "no connection" } = error as NodeJS.ErrnoException;
    return new RedisUnavailable({ reason: String(reason) });
  }
  if (REFUSED.includes(code)) return new RedisRefused({ reason: code });
  if (PASSING.includes(code)) return new RedisUnavailable({ reason: code });
  return new RedisFailed({ reason: code });
}
