import { createHash } from "node:crypto";
import { type Clock, systemClock } from "../kernel/clock.ts";
import type { SimulatedHandler } from "./provider-simulator.ts";
import type { RecordedRequest } from "./recorded-request.ts";
import { answer, type SimulatedAnswer } from "./simulated-answer.ts";

const ACCESS_TOKEN_MS = 30 * 60_000;
const CODE_MS = 60_000;

/** What a token request was answered with. */
export interface SimulatedToken {
  readonly accessToken: string;
  readonly refreshToken: string;
  readonly expiresInSeconds: number;
  readonly scopes: readonly string[];
}

export interface SimulatedAuthorizationServerOptions {
  readonly clientId: string;
  readonly clientSecret: string;
  /** Give the app the same one; without it the machine's. */
  readonly clock?: Clock;
  /** How long access tokens live; 30 minutes when absent. */
  readonly accessTokenMs?: number;
  /**
   * Whether a refresh gives a new refresh token. Then an old one that comes again is taken for stolen and ends the
   * grant, new tokens included, as strict servers do. Default true.
   */
  readonly rotates?: boolean;
  /** The answer's members, where the provider to be played has others than RFC 6749. */
  readonly tokenAnswer?: (token: SimulatedToken) => unknown;
}

interface Grant {
  readonly scopes: readonly string[];
  ended: boolean;
}

interface Code {
  readonly grant: Grant;
  readonly redirectUri: string;
  readonly challenge: string;
  readonly expiresAt: number;
  used: boolean;
}

/**
 * A simulated OAuth 2.1 authorization server with PKCE: codes that work once, access tokens that expire, refresh tokens
 * that rotate, and reuse that is noticed. It is for tests of what a connector does with tokens; it is not a server to
 * prove a client against, which a certified one is.
 *
 * Its token endpoint is a handler: `simulator.on("POST https://auth.crm.example/token", server.token)`.
 */
export class SimulatedAuthorizationServer {
  readonly #options: SimulatedAuthorizationServerOptions;
  readonly #clock: Clock;
  readonly #codes = new Map<string, Code>();
  readonly #access = new Map<string, { readonly grant: Grant; readonly expiresAt: number }>();
  readonly #refresh = new Map<string, { readonly grant: Grant; used: boolean }>();
  readonly #grants: Grant[] = [];
  #made = 0;

  /** Answers requests to the token endpoint. */
  readonly token: SimulatedHandler = (request) => this.#answer(request);

  constructor(options: SimulatedAuthorizationServerOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock();
  }

  /**
   * A person approves: takes the address that `connectors.authorize` gave, and gives the callback that the browser
   * would be sent to.
   *
   * @param scopes what is granted; without it what was asked for
   */
  authorize(url: string | URL, scopes?: readonly string[]): URL {
    const asked = this.#check(url);
    const grant: Grant = { scopes: scopes ?? asked.scopes, ended: false };
    this.#grants.push(grant);
    const code = this.#name("code");
    const { redirectUri, challenge } = asked;
    this.#codes.set(code, { grant, redirectUri, challenge, expiresAt: this.#clock.now() + CODE_MS, used: false });
    return callback(asked, { code });
  }

  /** A person refuses: gives the callback that says so. */
  refuse(url: string | URL): URL {
    return callback(this.#check(url), { error: "access_denied" });
  }

  /** Whether a request carries an access token that is good: what the provider's API asks for each request. */
  accepts(request: RecordedRequest): boolean {
    const [, token] = /^Bearer (.+)$/.exec(request.headers.get("authorization") ?? "") ?? [];
    const held = this.#access.get(token ?? "");
    return held !== undefined && !held.grant.ended && held.expiresAt > this.#clock.now();
  }

  /** Makes every access token that was given out until now expire; refresh tokens stay. */
  expireAccessTokens(): void {
    this.#access.clear();
  }

  /** The person takes every grant back: nothing that was given out works any more. */
  revoke(): void {
    for (const grant of this.#grants) grant.ended = true;
  }

  #check(address: string | URL): Asked {
    const query = new URL(address).searchParams;
    const read = (name: string) => query.get(name) ?? "";
    const wrong = [
      ...(read("response_type") === "code" ? [] : ["response_type is not code"]),
      ...(read("client_id") === this.#options.clientId ? [] : ["client_id is another one"]),
      ...(URL.canParse(read("redirect_uri")) ? [] : ["redirect_uri is not a URL"]),
      ...(read("code_challenge_method") === "S256" && read("code_challenge") !== ""
        ? []
        : ["there is no S256 challenge"]),
      ...(read("state") === "" ? ["there is no state"] : []),
    ];
    if (wrong.length > 0)
      throw new TypeError(`The authorization request is not one to show a person: ${wrong.join(", ")}.`);
    return {
      redirectUri: read("redirect_uri"),
      state: read("state"),
      challenge: read("code_challenge"),
      scopes: read("scope")
        .split(" ")
        .filter((scope) => scope !== ""),
    };
  }

  #answer(request: RecordedRequest): SimulatedAnswer {
    const form = request.form();
    if (!this.#isClient(request, form)) return refusal("invalid_client", 401);
    const grantType = form.get("grant_type");
    if (grantType === "authorization_code") return this.#exchange(form);
    return grantType === "refresh_token" ? this.#renew(form) : refusal("unsupported_grant_type");
  }

  #isClient(request: RecordedRequest, form: URLSearchParams): boolean {
    const [, basic] = /^Basic (.+)$/i.exec(request.headers.get("authorization") ?? "") ?? [];
    const [id, secret] =
      basic === undefined
        ? [form.get("client_id"), form.get("client_secret")]
        : Buffer.from(basic, "base64").toString().split(":").map(formDecoded);
    return id === this.#options.clientId && secret === this.#options.clientSecret;
  }

  #exchange(form: URLSearchParams): SimulatedAnswer {
    const code = this.#codes.get(form.get("code") ?? "");
    if (code === undefined || code.expiresAt <= this.#clock.now()) return refusal("invalid_grant");
    // Somebody else may have used it first: nothing that came of it can be trusted.
    if (code.used) code.grant.ended = true;
    const challenge = createHash("sha256")
      .update(form.get("code_verifier") ?? "")
      .digest("base64url");
    if (code.grant.ended || challenge !== code.challenge || form.get("redirect_uri") !== code.redirectUri)
      return refusal("invalid_grant");
    code.used = true;
    return this.#issue(code.grant, this.#newRefreshToken(code.grant));
  }

  #renew(form: URLSearchParams): SimulatedAnswer {
    const name = form.get("refresh_token") ?? "";
    const held = this.#refresh.get(name);
    if (held?.used === true) held.grant.ended = true;
    if (held === undefined || held.grant.ended) return refusal("invalid_grant");
    if (this.#options.rotates === false) return this.#issue(held.grant, name);
    held.used = true;
    return this.#issue(held.grant, this.#newRefreshToken(held.grant));
  }

  #newRefreshToken(grant: Grant): string {
    const name = this.#name("refresh");
    this.#refresh.set(name, { grant, used: false });
    return name;
  }

  #issue(grant: Grant, refreshToken: string): SimulatedAnswer {
    const { accessTokenMs = ACCESS_TOKEN_MS, tokenAnswer = standardAnswer } = this.#options;
    const accessToken = this.#name("access");
    this.#access.set(accessToken, { grant, expiresAt: this.#clock.now() + accessTokenMs });
    const token = { accessToken, refreshToken, expiresInSeconds: accessTokenMs / 1000, scopes: grant.scopes };
    return answer.json(tokenAnswer(token), { headers: { "cache-control": "no-store" } });
  }

  #name(kind: string): string {
    this.#made += 1;
    return `simulated-${kind}-${this.#made}`;
  }
}

interface Asked {
  readonly redirectUri: string;
  readonly state: string;
  readonly challenge: string;
  readonly scopes: readonly string[];
}

function callback({ redirectUri, state }: Asked, outcome: Readonly<Record<string, string>>): URL {
  const url = new URL(redirectUri);
  for (const [name, value] of Object.entries({ ...outcome, state })) url.searchParams.set(name, value);
  return url;
}

// RFC 6749, 2.3.1: both halves are written as in a form.
function formDecoded(part: string): string {
  return new URLSearchParams(`part=${part}`).get("part") ?? "";
}

// RFC 6749, 5.2.
function refusal(error: string, status = 400): SimulatedAnswer {
  return answer.json({ error }, { status });
}

// RFC 6749, 5.1.
function standardAnswer({ accessToken, refreshToken, expiresInSeconds, scopes }: SimulatedToken): unknown {
  return {
    access_token: accessToken,
    token_type: "Bearer",
    expires_in: expiresInSeconds,
    refresh_token: refreshToken,
    scope: scopes.join(" "),
  };
}
