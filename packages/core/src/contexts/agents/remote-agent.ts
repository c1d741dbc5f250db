import type { CircuitOptions } from "../../kernel/circuit.ts";
import type { Schema } from "../../kernel/schema.ts";
import { type AgentDefinition, defineAgent, type RemoteEndpoint } from "./agent-definition.ts";

/** What a run of a remote agent may use up before it is cut off. All of it is kept in the budgets until it has ended. */
export interface RemoteAgentLimits {
  /** Calls of a model. Default 20. */
  readonly steps?: number;
  /** Tokens, in and out. Default 200,000. */
  readonly tokens?: number;
  /** What it may cost, in billionths of the prices' currency. Default: no bound. */
  readonly nanos?: number;
  /** For how long a run is waited for, in milliseconds. Default 600,000. */
  readonly timeoutMs?: number;
}

const MOST_PERMISSIONS = 50;

/**
 * Says where an agent is that runs elsewhere, in whichever language: it is asked over HTTP, and its runs are told of,
 * counted and ended like those of any other.
 *
 * @throws {TypeError} a name, number or URL cannot be
 */
export function defineRemoteAgent(options: {
  /** `researcher`: lower-case letters, digits and hyphens. */
  readonly id: string;
  /** 1 or more; 1 when absent. A run keeps to the version that it was started with. */
  readonly version?: number;
  /** One sentence, for who looks at the list. */
  readonly summary: string;
  /** Where it is: `https://agents.example.com/researcher`. Its origin may be private: the host has named it. */
  readonly url: string;
  readonly capabilities?: readonly string[];
  readonly taskTypes?: readonly string[];
  /**
   * What it may do when it calls this API back, on behalf of whom it works for and never more than they may:
   * `["crm:read"]`. None when absent: its token is then good for nothing here.
   */
  readonly permissions?: readonly string[];
  readonly limits?: RemoteAgentLimits;
  /** The shape of its answer; without it the answer is text. */
  readonly output?: Schema;
  /** When nothing more is sent to an agent that is down: after 5 outages in a row, for 30 s. `false`: never. */
  readonly circuit?: CircuitOptions | false;
}): AgentDefinition {
  const { limits: { timeoutMs = 600_000, ...limits } = {}, permissions = [], circuit, url, ...own } = options;
  const definition = defineAgent({ ...own, instructions: "", limits });
  const complain = (what: string) => new TypeError(`The agent "${own.id}" ${what}.`);
  const parsed = URL.parse(url);
  if (parsed === null || !/^https?:$/.test(parsed.protocol) || parsed.search !== "" || parsed.hash !== "")
    throw complain("has a URL that is none of http or https, or has a query or fragment");
  if (parsed.username !== "" || parsed.password !== "")
    throw complain("has a password in its URL: it gets signed tokens, and needs none");
  if (!Number.isSafeInteger(timeoutMs) || timeoutMs < 1) throw complain(`has ${timeoutMs} as its timeoutMs`);
  if (permissions.length > MOST_PERMISSIONS) throw complain(`has more than ${MOST_PERMISSIONS} permissions`);
  const remote: RemoteEndpoint = Object.freeze({
    url: parsed.href.replace(/\/+$/, ""),
    permissions: Object.freeze([...permissions]),
    timeoutMs,
    circuit: circuit ?? { failures: 5, openMs: 30_000 },
  });
  return Object.freeze({ ...definition, models: [], remote });
}
