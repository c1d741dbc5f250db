import { describePrincipal, type Principal } from "@armature/core";
import type { PriorDiscovery } from "@modelcontextprotocol/client";
import type { McpServer } from "./mcp-server.ts";

/** What a server has said to one caller. */
export interface KnownServer {
  readonly discovery: PriorDiscovery;
  /** What names each of its tools as it is described, by the tool's name. */
  readonly fingerprints: ReadonlyMap<string, string>;
  readonly checkedAt: number;
}

const MOST = 1_000;

/** What servers have said lately, so that a call need not ask first. Callers never see what another one was told. */
export class KnownServers {
  readonly #known = new Map<string, KnownServer>();

  find(server: McpServer, principal: Principal, now: number): KnownServer | undefined {
    const found = this.#known.get(keyOf(server, principal));
    return found !== undefined && now - found.checkedAt < server.recheckMs ? found : undefined;
  }

  keep(server: McpServer, principal: Principal, known: KnownServer): void {
    const key = keyOf(server, principal);
    this.#known.delete(key);
    if (this.#known.size >= MOST) this.#known.delete(this.#known.keys().next().value!);
    this.#known.set(key, known);
  }

  forget(server: McpServer, principal: Principal): void {
    this.#known.delete(keyOf(server, principal));
  }
}

function keyOf({ name }: McpServer, principal: Principal): string {
  return JSON.stringify([name, principal.tenant, describePrincipal(principal)]);
}
