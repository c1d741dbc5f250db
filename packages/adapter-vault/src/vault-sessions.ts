import { ArmatureError } from "@armature/core";
import { authAnswer } from "./answers.ts";
import { VaultRefused } from "./errors.ts";
import { understood, type VaultAnswer, type VaultApi, type VaultRequest } from "./vault-api.ts";
import type { VaultLogin } from "./vault-login.ts";
import { postponed, renewed, type VaultSession } from "./vault-session.ts";

/** So that a policy that forbids something does not make a new token with each request that it refuses. */
const YOUNG_MS = 5_000;

/**
 * Requests with a token that is good. There is no timer: a token is looked after when a request comes and half of its
 * life is over. It is renewed then; when Vault refuses, or has shortened the last renewal because the token's longest
 * life is near, a new login takes its place. While Vault cannot do either, the old token is used until its end.
 *
 * However many requests find a token due or refused, one of them sees to it and the others wait.
 */
export class VaultSessions {
  readonly #api: VaultApi;
  readonly #login: VaultLogin;
  #session: VaultSession | undefined;
  #pending: Promise<VaultSession> | undefined;

  constructor(api: VaultApi, login: VaultLogin) {
    this.#api = api;
    this.#login = login;
  }

  /**
   * Sends a request; when Vault refuses it, once more with a new token. `repeatable` says that it may be sent again
   * also when nobody knows whether it has arrived.
   *
   * @param operation what it does, for the sentence of an error: `read a secret`
   * @throws {VaultRefused} 403
   */
  async call(operation: string, request: VaultRequest, repeatable = true): Promise<VaultAnswer> {
    const send = ({ token }: VaultSession) =>
      repeatable ? this.#api.repeat(request, token) : this.#api.send(request, token);
    const session = await this.#current();
    const answer = await send(session);
    if (answer.status !== 403) return answer;
    const other = await this.#insteadOf(session);
    const second = other === undefined ? answer : await send(other);
    if (second.status !== 403) return second;
    const reason = "the token's policies do not allow it, or the token is no longer good";
    throw new VaultRefused({ operation, reason });
  }

  #current(): Promise<VaultSession> {
    const session = this.#session;
    if (session !== undefined && this.#api.clock.now() < session.dueAt) return Promise.resolve(session);
    this.#pending ??= this.#next(session)
      .then((next) => {
        this.#session = next;
        return next;
      })
      .finally(() => {
        this.#pending = undefined;
      });
    return this.#pending;
  }

  async #next(session: VaultSession | undefined): Promise<VaultSession> {
    if (session === undefined || this.#api.clock.now() >= session.expiresAt) return this.#login.open();
    try {
      return (session.renewable ? await this.#renew(session) : undefined) ?? (await this.#login.open());
    } catch (error) {
      if (!(error instanceof ArmatureError)) throw error;
      return postponed(session, this.#api.clock);
    }
  }

  /** Undefined when Vault refuses. */
  async #renew(session: VaultSession): Promise<VaultSession | undefined> {
    const since = this.#api.clock.now();
    const answer = await this.#api.send({ method: "POST", path: "auth/token/renew-self", body: {} }, session.token);
    if (answer.status !== 200) return undefined;
    const { lease_duration } = understood(authAnswer, answer, "a renewal").auth;
    return renewed(session, { ttlMs: lease_duration * 1000, since });
  }

  /** Undefined when another token would not make a difference. */
  async #insteadOf(refused: VaultSession): Promise<VaultSession | undefined> {
    // Somebody has seen to it already.
    if (this.#session !== undefined && this.#session.token !== refused.token) return this.#current();
    if (!this.#login.givesNewTokens) return undefined;
    if (this.#session !== undefined && this.#api.clock.now() - refused.obtainedAt < YOUNG_MS) return undefined;
    this.#session = undefined;
    return this.#current();
  }
}
