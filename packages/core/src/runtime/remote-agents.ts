import { RemoteClient } from "../contexts/agents/remote-client.ts";
import type { HttpClient } from "../kernel/ports.ts";
import type { PrincipalTokens } from "../kernel/principal-token.ts";
import type { ArmatureOptions } from "./armature.ts";
import { GuardedHttpClient } from "./guarded-http-client.ts";
import { observedSend } from "./observed-send.ts";
import type { RuntimePorts } from "./runtime-ports.ts";

/** What the host's remote agents are called with, and how to end it; undefined where there are none. */
export interface RemoteAgents {
  readonly client: RemoteClient;
  close(): Promise<void>;
}

/** @throws {TypeError} there are remote agents, and what they need is missing */
export function remoteAgents(
  { agents = [], http: given }: Pick<ArmatureOptions, "agents" | "http">,
  { clock, logger }: Pick<RuntimePorts, "clock" | "logger">,
  tokens: PrincipalTokens | undefined,
): RemoteAgents | undefined {
  const urls = agents.flatMap(({ remote }) => (remote === undefined ? [] : [remote.url]));
  if (urls.length === 0) return undefined;
  if (tokens === undefined)
    throw new TypeError("Remote agents get tokens that name who has issued them: `apiUrl` is needed.");
  // A client of their own: what the host lets agents be reached under, connectors may not call.
  const own = given === undefined ? new GuardedHttpClient({ allowedOrigins: originsOf(urls), clock }) : undefined;
  const http: HttpClient = own ?? given!;
  if (http.open === undefined)
    throw new TypeError("Remote agents are followed while they work: the `http` that was given cannot `open`.");
  const observed: HttpClient = { send: observedSend(http), open: (request) => http.open!(request) };
  return {
    client: new RemoteClient({ http: observed, tokens, clock, logger }),
    close: async () => own?.close(),
  };
}

function originsOf(urls: readonly string[]): readonly string[] {
  return [...new Set(urls.map((url) => new URL(url).origin))];
}
