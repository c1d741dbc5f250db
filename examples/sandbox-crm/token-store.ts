import type { Adapter, AdapterPayload } from "oidc-provider";

interface Row {
  readonly model: string;
  readonly payload: AdapterPayload;
  readonly expiresAt: number;
}

/** A grant that a user gave to a client, alive or not. */
export interface GrantView {
  readonly id: string;
  readonly clientId: string;
  readonly account: string;
  /** False once it was revoked, by a call or because a refresh token was used twice. */
  readonly alive: boolean;
}

/**
 * What the authorization server remembers, in memory. oidc-provider's own memory adapter forgets after a thousand
 * entries and cannot be asked what it holds; the simulation needs both.
 */
export class TokenStore {
  readonly #rows = new Map<string, Row>();
  readonly #grants = new Map<string, { readonly clientId: string; readonly account: string }>();

  /** The adapter for one of oidc-provider's models, as its configuration wants it. */
  readonly adapter = (model: string): Adapter => ({
    upsert: async (id, payload, expiresIn) => {
      const expiresAt = expiresIn === undefined ? Number.POSITIVE_INFINITY : Date.now() + expiresIn * 1000;
      this.#rows.set(`${model}:${id}`, { model, payload, expiresAt });
      if (model === "Grant") {
        this.#grants.set(id, { clientId: payload.clientId ?? "", account: payload.accountId ?? "" });
      }
    },
    find: async (id) => this.#find(model, id),
    findByUid: async (uid) => this.#search(model, (payload) => payload.uid === uid),
    findByUserCode: async (userCode) => this.#search(model, (payload) => payload.userCode === userCode),
    consume: async (id) => {
      const row = this.#rows.get(`${model}:${id}`);
      if (row !== undefined) row.payload.consumed = Math.floor(Date.now() / 1000);
    },
    destroy: async (id) => void this.#rows.delete(`${model}:${id}`),
    revokeByGrantId: async (grantId) =>
      void this.#delete((row) => row.model === model && row.payload.grantId === grantId),
  });

  /** From now on every access token given out so far is unknown. Returns how many there were. */
  expireAccessTokens(): number {
    return this.#delete(({ model }) => model === "AccessToken" || model === "ClientCredentials");
  }

  /** Every grant that was ever given, oldest first. */
  grants(): GrantView[] {
    return [...this.#grants].map(([id, grant]) => ({ id, ...grant, alive: this.#find("Grant", id) !== undefined }));
  }

  /** Ends a grant and every token that came from it; false when there is none alive. */
  revokeGrant(id: string): boolean {
    this.#delete((row) => row.payload.grantId === id);
    return this.#rows.delete(`Grant:${id}`);
  }

  #find(model: string, id: string): AdapterPayload | undefined {
    const row = this.#rows.get(`${model}:${id}`);
    return row !== undefined && row.expiresAt > Date.now() ? row.payload : undefined;
  }

  #search(model: string, matches: (payload: AdapterPayload) => boolean): AdapterPayload | undefined {
    for (const row of this.#rows.values()) {
      if (row.model === model && row.expiresAt > Date.now() && matches(row.payload)) return row.payload;
    }
    return undefined;
  }

  #delete(matches: (row: Row) => boolean): number {
    const keys = [...this.#rows].filter(([, row]) => matches(row)).map(([key]) => key);
    for (const key of keys) this.#rows.delete(key);
    return keys.length;
  }
}
