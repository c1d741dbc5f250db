import { timingSafeEqual } from "node:crypto";
import { z } from "zod";
import { AggregateRoot, defineAggregate, type Withholding } from "../../kernel/aggregate.ts";
import type { Instant } from "../../kernel/clock.ts";
import type { EventOf } from "../../kernel/event.ts";
import type { Party } from "../../kernel/principal.ts";
import { ApiKeyAlreadyRevoked, ApiKeyCreated, ApiKeyRevoked, ExpiryInThePast } from "./contract.ts";

const state = z.object({
  name: z.string(),
  accountType: z.enum(["user", "service"]),
  accountId: z.string(),
  /** SHA-256 of the key's secret part in hexadecimal. The secret has 256 random bits, so a slow hash adds nothing. */
  secretHash: z.string(),
  lastFour: z.string(),
  limitedTo: z.array(z.string()).optional(),
  expiresAt: z.iso.datetime().optional(),
  revokedAt: z.iso.datetime().optional(),
  createdAt: z.iso.datetime(),
});
export type ApiKeyState = z.infer<typeof state>;

/** What the log does not need to know of a key. */
export type ApiKeyProof = Pick<ApiKeyState, "secretHash" | "lastFour">;

type Event = Withholding<EventOf<typeof ApiKeyCreated>, ApiKeyProof> | EventOf<typeof ApiKeyRevoked>;

/** A credential of a user or service account. Only a hash of it is kept. */
export class ApiKey extends AggregateRoot<ApiKeyState, Event> {
  static readonly definition = defineAggregate("api_key", {
    state,
    events: [ApiKeyCreated, ApiKeyRevoked],
    index: ["accountType", "accountId"],
  });

  static create(
    id: string,
    key: {
      readonly account: Party;
      readonly name: string;
      readonly limitedTo?: readonly string[] | undefined;
      readonly expiresAt?: Instant | undefined;
    },
    proof: ApiKeyProof,
    at: Instant,
  ): ApiKey {
    const { account, name, limitedTo, expiresAt } = key;
    if (expiresAt !== undefined && Date.parse(expiresAt) <= Date.parse(at)) throw new ExpiryInThePast({ expiresAt });
    const apiKey = new ApiKey(id);
    const limits = limitedTo === undefined ? undefined : [...new Set(limitedTo)];
    apiKey.raise(ApiKeyCreated, { keyId: id, account, name, limitedTo: limits, expiresAt, at }, proof);
    return apiKey;
  }

  get account(): Party {
    return { type: this.state.accountType, id: this.state.accountId };
  }

  revoke(at: Instant): void {
    if (this.state.revokedAt !== undefined) throw new ApiKeyAlreadyRevoked({ keyId: this.id });
    this.raise(ApiKeyRevoked, { keyId: this.id, account: this.account, at });
  }

  /** Whether the secret of this hash opens it at this time. Compares in constant time. */
  accepts(secretHash: string, at: Instant): boolean {
    const { revokedAt, expiresAt } = this.state;
    const known = timingSafeEqual(Buffer.from(this.state.secretHash), Buffer.from(secretHash));
    return known && revokedAt === undefined && (expiresAt === undefined || Date.parse(at) < Date.parse(expiresAt));
  }

  protected override evolve(state: ApiKeyState | undefined, event: Event): ApiKeyState {
    switch (event.type) {
      case "identity.api_key_created": {
        const { account, name, limitedTo, expiresAt, at } = event.data;
        const { secretHash, lastFour } = event.withheld;
        return {
          name,
          accountType: account.type,
          accountId: account.id,
          secretHash,
          lastFour,
          limitedTo,
          expiresAt,
          createdAt: at,
        };
      }
      case "identity.api_key_revoked":
        return { ...state!, revokedAt: event.data.at };
    }
  }
}
