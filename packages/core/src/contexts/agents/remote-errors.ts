import { z } from "zod";
import { defineError } from "../../kernel/errors.ts";

/** The agent cannot be reached, or could not serve. What it was asked for may or may not have happened. */
export class RemoteAgentUnreachable extends defineError("agent.remote_unreachable", {
  kind: "unavailable",
  details: z.object({ agent: z.string(), reason: z.string(), retryAfterMs: z.number().optional() }),
  message: ({ agent, reason }) =>
    `The remote agent "${agent}" cannot be reached: ${reason}. What it had begun may or may not have happened.`,
}) {}

/** The agent has refused: it has done nothing, and will not. */
export class RemoteAgentRefused extends defineError("agent.remote_refused", {
  kind: "precondition",
  details: z.object({ agent: z.string(), status: z.int(), code: z.string().optional() }),
  message: ({ agent, status, code }) =>
    `The remote agent "${agent}" refused with ${status}${code === undefined ? "" : ` (${code})`}.`,
}) {}

/** The agent says something that the protocol does not have. */
export class RemoteAgentProtocolBroken extends defineError("agent.remote_protocol_broken", {
  kind: "internal",
  details: z.object({ agent: z.string(), reason: z.string() }),
  message: ({ agent, reason }) => `The remote agent "${agent}" does not keep to the protocol: ${reason}.`,
}) {}

/** The agent was not done by its deadline. It was asked to stop, and may not have. */
export class RemoteAgentTimedOut extends defineError("agent.remote_timed_out", {
  kind: "timeout",
  details: z.object({ agent: z.string(), timeoutMs: z.number() }),
  message: ({ agent, timeoutMs }) => `The remote agent "${agent}" was not done within ${timeoutMs} ms.`,
}) {}

/** The agent has tried, and says that it cannot be done. */
export class RemoteAgentFailed extends defineError("agent.remote_failed", {
  kind: "precondition",
  details: z.object({ agent: z.string(), code: z.string(), message: z.string() }),
  message: ({ agent, code, message }) => `The remote agent "${agent}" failed with "${code}": ${message}`,
}) {}
