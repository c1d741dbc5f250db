import { z } from "zod";
import { AggregateRoot, defineAggregate } from "../../kernel/aggregate.ts";
import type { Instant } from "../../kernel/clock.ts";
import { NotFound } from "../../kernel/errors.ts";
import type { EventOf } from "../../kernel/event.ts";
import { RoleCreated, RoleDeleted, RoleUpdated } from "./contract.ts";

/** The role that holds everything. It is known in every tenant without a row. */
export const OWNER = "owner";

/** Roles that exist in every tenant and cannot be changed, with their permissions. */
export const builtInRoles: ReadonlyMap<string, readonly string[]> = new Map([[OWNER, ["*"]]]);

const state = z.object({
  permissions: z.array(z.string()),
  status: z.enum(["active", "deleted"]),
  createdAt: z.iso.datetime(),
});
export type RoleState = z.infer<typeof state>;

type Event = EventOf<typeof RoleCreated> | EventOf<typeof RoleUpdated> | EventOf<typeof RoleDeleted>;

/** A named set of permissions. Its id is its name. */
export class Role extends AggregateRoot<RoleState, Event> {
  static readonly definition = defineAggregate("role", {
    state,
    events: [RoleCreated, RoleUpdated, RoleDeleted],
    index: ["status"],
  });

  static create(name: string, permissions: readonly string[], at: Instant): Role {
    const role = new Role(name);
    role.raise(RoleCreated, { role: name, permissions: [...new Set(permissions)], at });
    return role;
  }

  get isDeleted(): boolean {
    return this.state.status === "deleted";
  }

  /** What it gives: nothing once it is deleted. */
  get permissions(): readonly string[] {
    return this.isDeleted ? [] : this.state.permissions;
  }

  update(permissions: readonly string[]): void {
    this.#mustExist();
    this.raise(RoleUpdated, { role: this.id, permissions: [...new Set(permissions)] });
  }

  delete(): void {
    this.#mustExist();
    this.raise(RoleDeleted, { role: this.id });
  }

  #mustExist(): void {
    if (this.isDeleted) throw new NotFound({ type: "role", id: this.id });
  }

  protected override evolve(state: RoleState | undefined, event: Event): RoleState {
    switch (event.type) {
      case "identity.role_created":
        return { permissions: event.data.permissions, status: "active", createdAt: event.data.at };
      case "identity.role_updated":
        return { ...state!, permissions: event.data.permissions };
      case "identity.role_deleted":
        return { ...state!, permissions: [], status: "deleted" };
    }
  }
}

/** Whether two lists name the same roles, in whatever order. */
export function sameRoles(some: readonly string[], others: readonly string[]): boolean {
  const all = new Set([...some, ...others]);
  return all.size === new Set(some).size && all.size === new Set(others).size;
}
