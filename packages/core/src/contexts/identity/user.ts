import { z } from "zod";
import { AggregateRoot, defineAggregate, type Withholding } from "../../kernel/aggregate.ts";
import type { Instant } from "../../kernel/clock.ts";
import type { EventOf } from "../../kernel/event.ts";
import type { Party } from "../../kernel/principal.ts";
import {
  AccountDisabled,
  AccountNotDisabled,
  RolesChanged,
  UserCreated,
  UserDisabled,
  UserEnabled,
  UserUpdated,
} from "./contract.ts";
import { OWNER, sameRoles } from "./role.ts";

const state = z.object({
  name: z.string(),
  email: z.string().optional(),
  roles: z.array(z.string()),
  status: z.enum(["active", "disabled"]),
  createdAt: z.iso.datetime(),
});
export type UserState = z.infer<typeof state>;

/** Personal data: in the state, in no event. */
export interface UserProfile {
  readonly name: string;
  readonly email?: string | undefined;
}

type Event =
  | Withholding<EventOf<typeof UserCreated>, UserProfile>
  | Withholding<EventOf<typeof UserUpdated>, UserProfile>
  | EventOf<typeof UserDisabled>
  | EventOf<typeof UserEnabled>
  | EventOf<typeof RolesChanged>;

/** A person who works in a tenant. */
export class User extends AggregateRoot<UserState, Event> {
  static readonly definition = defineAggregate("user", {
    state,
    events: [UserCreated, UserUpdated, UserDisabled, UserEnabled, RolesChanged],
    index: ["status"],
  });

  static create(id: string, profile: UserProfile, roles: readonly string[], at: Instant): User {
    const user = new User(id);
    user.raise(UserCreated, { userId: id, roles: [...new Set(roles)], at }, profile);
    return user;
  }

  get account(): Party {
    return { type: "user", id: this.id };
  }

  get isActive(): boolean {
    return this.state.status === "active";
  }

  get isActiveOwner(): boolean {
    return this.isActive && this.state.roles.includes(OWNER);
  }

  /** Changes what is given; an `email` of null is taken away. */
  update(changes: { readonly name?: string | undefined; readonly email?: string | null | undefined }): void {
    const { name, email } = this.state;
    const profile = {
      name: changes.name ?? name,
      email: changes.email === undefined ? email : (changes.email ?? undefined),
    };
    const changed = (["name", "email"] as const).filter((field) => profile[field] !== this.state[field]);
    if (changed.length > 0) this.raise(UserUpdated, { userId: this.id, changed }, profile);
  }

  setRoles(roles: readonly string[]): void {
    if (sameRoles(roles, this.state.roles)) return;
    this.raise(RolesChanged, { account: this.account, roles: [...new Set(roles)] });
  }

  disable(): void {
    if (!this.isActive) throw new AccountDisabled({ account: this.account });
    this.raise(UserDisabled, { userId: this.id });
  }

  enable(): void {
    if (this.isActive) throw new AccountNotDisabled({ account: this.account });
    this.raise(UserEnabled, { userId: this.id });
  }

  protected override evolve(state: UserState | undefined, event: Event): UserState {
    if (event.type === "identity.user_created")
      return { ...event.withheld, roles: event.data.roles, status: "active", createdAt: event.data.at };
    const before = state!;
    switch (event.type) {
      case "identity.user_updated":
        return { ...before, ...event.withheld };
      case "identity.user_disabled":
        return { ...before, status: "disabled" };
      case "identity.user_enabled":
        return { ...before, status: "active" };
      case "identity.roles_changed":
        return { ...before, roles: event.data.roles };
    }
  }
}
