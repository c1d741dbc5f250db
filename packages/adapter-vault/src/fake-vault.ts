import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { type Clock, systemClock } from "@armature/core";
import { FakeKv, type FakeReply, give, refuse } from "./fake-kv.ts";
import { FakeTokens } from "./fake-tokens.ts";

/** One request as it arrived. */
export interface FakeRequest {
  readonly method: string;
  /** Below `/v1/`, decoded. */
  readonly path: string;
  readonly query: URLSearchParams;
  readonly token: string;
  readonly namespace: string;
  readonly body: string;
}

/** What goes wrong with a request: before it is looked at, after it was done, or with its answer. */
export type FakeTrouble = "cut before" | "cut after" | "hang before" | "hang after" | FalseAnswer;

/** An answer in place of the right one; with `after`, of a request that was done all the same. */
interface FalseAnswer {
  readonly status: number;
  readonly body: string;
  readonly location?: string;
  readonly after?: true;
}

interface PlannedTrouble {
  readonly trouble: FakeTrouble;
  readonly matches: (request: FakeRequest) => boolean;
  readonly happened: () => void;
}

type Health = "active" | "standby" | "performance standby" | "dr secondary" | "sealed" | "uninitialized";

const HEALTH: Readonly<Record<Health, number>> = {
  active: 200,
  standby: 429,
  "performance standby": 473,
  "dr secondary": 472,
  sealed: 503,
  uninitialized: 501,
};

export interface FakeVaultOptions {
  /** Whose answers it gives where they differ: Vault 1.8 as recorded, OpenBao 2.6 as its source and issues say. */
  readonly like: "vault" | "openbao";
  readonly clock?: Clock;
  /** Those that exist, for OpenBao. Vault's community edition ignores the header. */
  readonly namespaces?: readonly string[];
}

/**
 * A fake of Vault for tests: a real HTTP server on loopback with KV version 2, tokens, policies and AppRole, which
 * keeps everything in memory and in the clear. It knows what the adapter asks for and nothing else.
 */
export class FakeVault {
  readonly requests: FakeRequest[] = [];
  readonly tokens: FakeTokens;
  readonly kv: FakeKv;
  health: Health = "active";
  readonly #like: FakeVaultOptions["like"];
  readonly #namespaces: readonly string[];
  readonly #v1 = new Map<string, string>();
  readonly #troubles: PlannedTrouble[] = [];
  readonly #server = createServer((request, response) => void this.#handle(request, response));

  constructor({ like, clock = systemClock(), namespaces = [] }: FakeVaultOptions) {
    this.#like = like;
    this.#namespaces = namespaces;
    this.tokens = new FakeTokens(clock);
    this.kv = new FakeKv(clock);
  }

  get address(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async start(): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    return this;
  }

  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.#server.closeAllConnections();
    await closed;
  }

  /** The next request that matches gets the trouble; more of them queue up. Resolves when it has happened. */
  trouble(trouble: FakeTrouble, matches: (request: FakeRequest) => boolean = () => true): Promise<void> {
    return new Promise((happened) => {
      this.#troubles.push({ trouble, matches, happened });
    });
  }

  forgetTroubles(): void {
    this.#troubles.length = 0;
  }

  /** How many requests there were below a path. */
  count(method: string, path: string): number {
    return this.requests.filter((each) => each.method === method && each.path.startsWith(path)).length;
  }

  async #handle(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const request = await received(incoming);
    this.requests.push(request);
    const at = this.#troubles.findIndex(({ matches }) => matches(request));
    const planned = at < 0 ? undefined : this.#troubles.splice(at, 1)[0];
    const trouble = planned?.trouble;
    const isBefore = typeof trouble === "object" ? trouble.after !== true : trouble?.endsWith("before") === true;
    const reply = isBefore ? undefined : this.#answer(incoming.url!.split("?")[0]!, request);
    planned?.happened();
    if (trouble === "hang before" || trouble === "hang after") return;
    if (trouble === "cut before" || trouble === "cut after") return void incoming.socket.destroy();
    if (trouble !== undefined) {
      response.writeHead(trouble.status, trouble.location === undefined ? {} : { location: trouble.location });
      return void response.end(trouble.body);
    }
    const { status, body } = reply!;
    response.writeHead(status, body === undefined ? {} : { "content-type": "application/json" });
    response.end(body === undefined ? undefined : `${JSON.stringify(body)}\n`);
  }

  #answer(rawPath: string, request: FakeRequest): FakeReply {
    const { path, method } = request;
    // What Go's server and Vault's check of paths do before anything looks at a request.
    if (/\/(?:\/|\.\.?(?:\/|$))/.test(decodeURIComponent(rawPath))) return { status: 301 };
    if (!/^[\x20-\x7e]*$/.test(path)) return refuse(400, "path contains non-printable characters");
    if (path === "sys/health") return this.#answerHealth(request);
    if (this.health === "sealed" || this.health === "uninitialized") return refuse(503, "Vault is sealed");
    if (this.#like === "openbao" && request.namespace !== "" && !this.#namespaces.includes(request.namespace))
      return refuse(404, "namespace not found");
    if (method === "POST" && path === "auth/approle/login") {
      const { role_id, secret_id } = JSON.parse(request.body);
      return this.tokens.login(role_id, secret_id);
    }
    return this.#answerWithToken(request);
  }

  #answerHealth({ namespace }: FakeRequest): FakeReply {
    if (this.#like === "openbao" && namespace !== "") return refuse(400, "operation unavailable in namespaces");
    const initialized = this.health !== "uninitialized";
    const sealed = !initialized || this.health === "sealed";
    const standby = ["standby", "performance standby", "dr secondary"].includes(this.health);
    return { status: HEALTH[this.health], body: { initialized, sealed, standby, server_time_utc: 0, version: "fake" } };
  }

  #answerWithToken(request: FakeRequest): FakeReply {
    const { path, query } = request;
    if (request.token === "" && this.#like === "vault") return refuse(400, "missing client token");
    const token = this.tokens.find(request.token);
    if (token === undefined) return refuse(403, "permission denied");
    if (path.startsWith("sys/internal/ui/mounts/")) {
      const mount = path.slice("sys/internal/ui/mounts/".length);
      const options = { secret: { version: "2" }, old: null }[mount];
      if (options === undefined || !this.tokens.reaches(token, mount))
        return refuse(
          403,
          `preflight capability check returned 403, please ensure client's policies grant access to path "${mount}/"`,
        );
      return give({ accessor: "fake-accessor", description: "", options, path: `${mount}/`, type: "kv" });
    }
    const operation = this.#operationOf(request);
    if (!this.tokens.allows(token, operation, operation === "list" ? `${path.replace(/\/$/, "")}/` : path))
      return refuse(403, "1 error occurred:\n\t* permission denied\n\n");
    if (path === "auth/token/lookup-self") return this.tokens.lookup(token);
    if (path === "auth/token/renew-self") return this.tokens.renew(token);
    if (path.startsWith("old/")) return this.#answerV1(request);
    if (!path.startsWith("secret/")) return refuse(404, `no handler for route "${path}". route entry not found.`);
    const [, part = "", key = ""] = /^secret\/([a-z]+)\/(.*)$/.exec(path) ?? [];
    if (key.includes("..")) return refuse(400, "relative paths not supported");
    if (part === "metadata") {
      if (operation === "list") return this.kv.list(key);
      return operation === "delete" ? this.kv.deleteMetadata(key) : this.kv.readMetadata(key);
    }
    if (part === "destroy") return this.kv.destroy(key, JSON.parse(request.body).versions);
    if (part !== "data" || key === "" || key.endsWith("/")) return refuse(404, "unsupported path");
    if (operation === "read") return this.kv.read(key, Number(query.get("version") ?? 0));
    return operation === "delete" ? this.kv.softDelete(key) : this.kv.write(key, JSON.parse(request.body));
  }

  // The version 1 engine, mounted at `old`, takes everything for a name and versions nothing.
  #answerV1({ method, path, body }: FakeRequest): FakeReply {
    if (method === "GET") {
      const held = this.#v1.get(path);
      return held === undefined ? refuse(404) : give(JSON.parse(held));
    }
    if (method === "POST") this.#v1.set(path, body);
    else this.#v1.delete(path);
    return { status: 204 };
  }

  #operationOf({ method, path, query }: FakeRequest): string {
    if (method === "GET") return query.get("list") === "true" ? "list" : "read";
    if (method === "DELETE") return "delete";
    return path.startsWith("secret/data/") && !this.kv.has(path.slice("secret/data/".length)) ? "create" : "update";
  }
}

async function received(incoming: IncomingMessage): Promise<FakeRequest> {
  const chunks: Buffer[] = [];
  for await (const chunk of incoming) chunks.push(chunk as Buffer);
  const [rawPath = "", query = ""] = incoming.url!.split("?");
  const header = (name: string) => String(incoming.headers[name] ?? "");
  return {
    method: incoming.method!,
    path: decodeURIComponent(rawPath).replace(/^\/v1\//, ""),
    query: new URLSearchParams(query),
    token: header("x-vault-token"),
    namespace: header("x-vault-namespace"),
    body: Buffer.concat(chunks).toString("utf8"),
  };
}

export function startFakeVault(options: FakeVaultOptions): Promise<FakeVault> {
  return new FakeVault(options).start();
}
