import { z } from "zod";
import { AggregateRoot, defineAggregate } from "../../kernel/aggregate.ts";
import type { Instant } from "../../kernel/clock.ts";
import type { EventOf } from "../../kernel/event.ts";
import type { Party } from "../../kernel/principal.ts";
import {
  LastOwner,
  OwnerAdded,
  OwnerRemoved,
  TenantAlreadySuspended,
  TenantCreated,
  TenantNotSuspended,
  TenantRenamed,
  TenantResumed,
  TenantSuspended,
} from "./contract.ts";

const state = z.object({
  name: z.string(),
  status: z.enum(["active", "suspended"]),
  /** How many active accounts hold the role "owner". */
  owners: z.int().min(0),
  createdAt: z.iso.datetime(),
});
export type TenantState = z.infer<typeof state>;

type Event =
  | EventOf<typeof TenantCreated>
  | EventOf<typeof TenantRenamed>
  | EventOf<typeof TenantSuspended>
  | EventOf<typeof TenantResumed>
  | EventOf<typeof OwnerAdded>
  | EventOf<typeof OwnerRemoved>;

/**
 * A customer of the host. It lives in its own tenant, under the tenant's id. It counts its owners, so that two owners
 * who strip each other at the same moment meet in one version check and one of them is refused.
 */
export class Tenant extends AggregateRoot<TenantState, Event> {
  static readonly definition = defineAggregate("tenant", {
    state,
    events: [TenantCreated, TenantRenamed, TenantSuspended, TenantResumed, OwnerAdded, OwnerRemoved],
  });

  static create(id: string, name: string, at: Instant): Tenant {
    const tenant = new Tenant(id);
    tenant.raise(TenantCreated, { name, at });
    return tenant;
  }

  rename(name: string): void {
    if (name !== this.state.name) this.raise(TenantRenamed, { name });
  }

  suspend(reason: string | undefined): void {
    if (this.state.status === "suspended") throw new TenantAlreadySuspended({});
    this.raise(TenantSuspended, { reason });
  }

  resume(): void {
    if (this.state.status === "active") throw new TenantNotSuspended({});
    this.raise(TenantResumed, {});
  }

  /** Notes that an account was or was not, and now is or is no longer, an active owner. */
  ownershipChanged(account: Party, before: boolean, now: boolean): void {
    if (before === now) return;
    if (!now && this.state.owners === 1) throw new LastOwner({ account });
    this.raise(now ? OwnerAdded : OwnerRemoved, { account });
  }

  protected override evolve(state: TenantState | undefined, event: Event): TenantState {
    if (event.type === "identity.tenant_created")
      return { name: event.data.name, status: "active", owners: 0, createdAt: event.data.at };
    const before = state!;
    switch (event.type) {
      case "identity.tenant_renamed":
        return { ...before, name: event.data.name };
      case "identity.tenant_suspended":
        return { ...before, status: "suspended" };
      case "identity.tenant_resumed":
        return { ...before, status: "active" };
      case "identity.owner_added":
        return { ...before, owners: before.owners + 1 };
      case "identity.owner_removed":
        return { ...before, owners: before.owners - 1 };
    }
  }
}
