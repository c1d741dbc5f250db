import { z } from "zod";
import { AggregateRoot, defineAggregate } from "../../kernel/aggregate.ts";
import type { Instant } from "../../kernel/clock.ts";
import type { EventOf } from "../../kernel/event.ts";
import type { Party } from "../../kernel/principal.ts";
import {
  AccountDisabled,
  AccountNotDisabled,
  RolesChanged,
  ServiceAccountCreated,
  ServiceAccountDisabled,
  ServiceAccountEnabled,
} from "./contract.ts";
import { OWNER, sameRoles } from "./role.ts";

const state = z.object({
  name: z.string(),
  roles: z.array(z.string()),
  status: z.enum(["active", "disabled"]),
  createdAt: z.iso.datetime(),
});
export type ServiceAccountState = z.infer<typeof state>;

type Event =
  | EventOf<typeof ServiceAccountCreated>
  | EventOf<typeof ServiceAccountDisabled>
  | EventOf<typeof ServiceAccountEnabled>
  | EventOf<typeof RolesChanged>;

/** A machine that works in a tenant: the principal's actor type is `service`. */
export class ServiceAccount extends AggregateRoot<ServiceAccountState, Event> {
  static readonly definition = defineAggregate("service_account", {
    state,
    events: [ServiceAccountCreated, ServiceAccountDisabled, ServiceAccountEnabled, RolesChanged],
    index: ["status"],
  });

  static create(id: string, name: string, roles: readonly string[], at: Instant): ServiceAccount {
    const service = new ServiceAccount(id);
    service.raise(ServiceAccountCreated, { serviceAccountId: id, name, roles: [...new Set(roles)], at });
    return service;
  }

  get account(): Party {
    return { type: "service", id: this.id };
  }

  get isActive(): boolean {
    return this.state.status === "active";
  }

  get isActiveOwner(): boolean {
    return this.isActive && this.state.roles.includes(OWNER);
  }

  setRoles(roles: readonly string[]): void {
    if (sameRoles(roles, this.state.roles)) return;
    this.raise(RolesChanged, { account: this.account, roles: [...new Set(roles)] });
  }

  disable(): void {
    if (!this.isActive) throw new AccountDisabled({ account: this.account });
    this.raise(ServiceAccountDisabled, { serviceAccountId: this.id });
  }

  enable(): void {
    if (this.isActive) throw new AccountNotDisabled({ account: this.account });
    this.raise(ServiceAccountEnabled, { serviceAccountId: this.id });
  }

  protected override evolve(state: ServiceAccountState | undefined, event: Event): ServiceAccountState {
    if (event.type === "identity.service_account_created") {
      const { name, roles, at } = event.data;
      return { name, roles, status: "active", createdAt: at };
    }
    const before = state!;
    switch (event.type) {
      case "identity.service_account_disabled":
        return { ...before, status: "disabled" };
      case "identity.service_account_enabled":
        return { ...before, status: "active" };
      case "identity.roles_changed":
        return { ...before, roles: event.data.roles };
    }
  }
}
