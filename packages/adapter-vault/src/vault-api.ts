import {
  AddressRefused,
  type ArmatureError,
  type Clock,
  type HttpClient,
  type HttpResponse,
  ProviderAnsweredGarbage,
  ProviderTimedOut,
  ProviderUnreachable,
  type Schema,
  type Secret,
  tryParse,
} from "@armature/core";
import { refusal } from "./answers.ts";
import { VaultAnsweredGarbage, VaultSealed, VaultTimedOut, VaultUnavailable } from "./errors.ts";

const ATTEMPTS = 3;
const PAUSE_MS = 100;

export interface VaultRequest {
  readonly method: "GET" | "POST" | "DELETE";
  /** Below `/v1/`, in segments that need no escaping. */
  readonly path: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly body?: object;
  /** Everything belongs to the configured namespace, except a few requests about the server as a whole. */
  readonly ofServer?: boolean;
}

/** An answer that is for the caller to judge: success, or a refusal of this request. */
export interface VaultAnswer {
  readonly status: number;
  /** The body as JSON; undefined when it is empty. */
  readonly body: unknown;
  /** What Vault says is wrong; undefined in other answers. Never to be shown: it quotes paths, and once a secret id. */
  readonly errors: readonly string[] | undefined;
}

export interface VaultApiOptions {
  readonly http: HttpClient;
  readonly clock: Clock;
  /** Without a slash at its end. */
  readonly address: string;
  readonly namespace?: string | undefined;
  readonly timeoutMs: number;
}

/** Vault's HTTP API: one request, its answer as JSON, and typed errors for a Vault that cannot answer. */
export class VaultApi {
  readonly clock: Clock;
  readonly #options: VaultApiOptions;

  constructor(options: VaultApiOptions) {
    this.clock = options.clock;
    this.#options = options;
  }

  /**
   * One exchange.
   *
   * @throws {VaultSealed} 503 of a Vault that is sealed
   * @throws {VaultUnavailable} no answer, or one that says that it is not the moment
   * @throws {VaultTimedOut}
   * @throws {VaultAnsweredGarbage} not JSON, or not an answer that Vault gives
   */
  async send(request: VaultRequest, token?: Secret<string>): Promise<VaultAnswer> {
    const { status, json, body } = await this.#exchange(request, token);
    const refused = tryParse(refusal, body);
    const errors = refused.ok ? refused.value.errors : undefined;
    const trouble = troubleOf(status, errors);
    // The health of a server is told by these very statuses.
    if (trouble !== undefined && !(json && request.path === "sys/health")) throw trouble;
    if (!json) throw new VaultAnsweredGarbage({ reason: `status ${status} and no JSON` });
    return { status, body, errors };
  }

  /** An exchange that may be repeated, because doing it twice is the same as doing it once. */
  async repeat(request: VaultRequest, token?: Secret<string>): Promise<VaultAnswer> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await this.send(request, token);
      } catch (error) {
        if (!(error instanceof VaultUnavailable) || !(await this.pause(attempt))) throw error;
      }
    }
  }

  /** Waits before the next attempt. False when there have been enough. */
  async pause(attempt: number): Promise<boolean> {
    if (attempt >= ATTEMPTS) return false;
    await this.clock.sleep(PAUSE_MS * 2 ** (attempt - 1));
    return true;
  }

  async #exchange({ method, path, query, body, ofServer }: VaultRequest, token: Secret<string> | undefined) {
    const { http, address, namespace, timeoutMs } = this.#options;
    const search = query === undefined ? "" : `?${new URLSearchParams(query)}`;
    try {
      const response = await http.send({
        method,
        url: `${address}/v1/${path}${search}`,
        headers: {
          accept: "application/json",
          // Vault's agents and proxies may be set to refuse requests without it, against forged ones.
          "x-vault-request": "true",
          ...(body === undefined ? {} : { "content-type": "application/json" }),
          ...(namespace === undefined || ofServer === true ? {} : { "x-vault-namespace": namespace }),
          ...(token === undefined ? {} : { "x-vault-token": token.reveal() }),
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        timeoutMs,
      });
      return { status: response.status, ...jsonOf(response) };
    } catch (error) {
      throw failure(error, timeoutMs);
    }
  }
}

/** What a schema makes of an answer. Throws `VaultAnsweredGarbage` without a word of what it was. */
export function understood<Out>(schema: Schema<Out>, answer: VaultAnswer, what: string): Out {
  const parsed = tryParse(schema, answer.body);
  if (parsed.ok) return parsed.value;
  throw new VaultAnsweredGarbage({ reason: `its answer to ${what} has another shape` });
}

function jsonOf(response: HttpResponse): { readonly json: boolean; readonly body: unknown } {
  const text = response.text();
  if (text.trim() === "") return { json: true, body: undefined };
  try {
    return { json: true, body: JSON.parse(text) };
  } catch {
    return { json: false, body: undefined };
  }
}

// Only what kind of failure it was is kept: a client that a host brings along may quote the request.
function failure(error: unknown, timeoutMs: number): ArmatureError {
  if (error instanceof ProviderTimedOut) return new VaultTimedOut({ timeoutMs });
  if (error instanceof ProviderUnreachable || error instanceof AddressRefused)
    return new VaultUnavailable({ reason: error.details.reason });
  if (error instanceof ProviderAnsweredGarbage) return new VaultAnsweredGarbage({ reason: error.details.reason });
  return new VaultUnavailable({ reason: "the exchange failed" });
}

// Statuses that say nothing about the request, only about the server at this moment.
function troubleOf(status: number, errors: readonly string[] = []): ArmatureError | undefined {
  if (status === 503 && errors.some((text) => /\bsealed\b/i.test(text))) return new VaultSealed({});
  const reason = TROUBLES[status] ?? (status >= 500 ? `status ${status}` : undefined);
  return reason === undefined ? undefined : new VaultUnavailable({ reason });
}

const TROUBLES: Readonly<Record<number, string>> = {
  301: "it redirects to another address",
  302: "it redirects to another address",
  307: "a standby that does not forward redirects to the active node",
  308: "it redirects to another address",
  412: "the node is behind the active one",
  429: "its rate limit is reached",
  472: "the node is a disaster recovery secondary",
  473: "the node is a performance standby",
};
