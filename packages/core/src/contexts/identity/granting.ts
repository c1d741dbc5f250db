import type { CommandContext, QueryContext } from "../../kernel/context.ts";
import { NotFound } from "../../kernel/errors.ts";
import { commonPermissions, type Party, type Principal } from "../../kernel/principal.ts";
import type { Identity } from "./contract.ts";
import { builtInRoles, Role } from "./role.ts";
import { ServiceAccount } from "./service-account.ts";
import { Tenant } from "./tenant.ts";
import { User } from "./user.ts";

type Reader = Pick<QueryContext<Identity, never>, "tenant" | "tryLoad">;
type Granter = Reader & Pick<CommandContext<Identity, never>, "principal" | "can" | "require">;

/** What every active account may do without a role: ask who it is. */
const SELF = "identity:self";

/** The user or service account, where it exists. */
export function loadAccount(ctx: Reader, { type, id }: Party): Promise<User | ServiceAccount | undefined> {
  return type === "user" ? ctx.tryLoad(User, id) : ctx.tryLoad(ServiceAccount, id);
}

/** What an account is stored and spoken of as: a principal says `service` where the aggregate is a service account. */
export function aggregateType({ type }: Party): string {
  return (type === "user" ? User : ServiceAccount).definition.type;
}

/** The user or service account; throws `NotFound` when there is none. */
export async function loadExistingAccount(ctx: Reader, party: Party): Promise<User | ServiceAccount> {
  const account = await loadAccount(ctx, party);
  if (account === undefined) throw new NotFound({ type: aggregateType(party), id: party.id });
  return account;
}

/** What an account may do at this moment: nothing when it is unknown or disabled, or its tenant suspended. */
export async function grantsOf(ctx: Reader, party: Party): Promise<readonly string[]> {
  const [tenant, account] = await Promise.all([ctx.tryLoad(Tenant, ctx.tenant), loadAccount(ctx, party)]);
  if (tenant?.state.status !== "active" || account?.isActive !== true) return [];
  return [SELF, ...(await permissionsOf(ctx, account.state.roles))];
}

/** What the principal may do at this moment. */
export async function grantsOfPrincipal(ctx: Reader, principal: Principal): Promise<readonly string[]> {
  const { actor, onBehalfOf, limitedTo } = principal;
  if (actor.type === "system") return limitedTo ?? ["*"];
  const accounts = [
    ...(actor.type === "agent" ? [] : [{ type: actor.type, id: actor.id }]),
    ...(onBehalfOf === undefined ? [] : [onBehalfOf]),
  ];
  const grants = await Promise.all(accounts.map((account) => grantsOf(ctx, account)));
  const [first = [], ...others] = limitedTo === undefined ? grants : [...grants, limitedTo];
  return others.reduce(commonPermissions, first);
}

/** What roles give together. A role that is unknown or deleted gives nothing. */
export async function permissionsOf(ctx: Reader, roles: readonly string[]): Promise<readonly string[]> {
  const each = await Promise.all(
    roles.map(async (name) => builtInRoles.get(name) ?? (await ctx.tryLoad(Role, name))?.permissions ?? []),
  );
  return [...new Set(each.flat())];
}

/** Refuses roles that do not exist, and a caller who would give a permission without having it. */
export async function requireRoles(ctx: Granter, roles: readonly string[]): Promise<void> {
  for (const name of roles) {
    if (builtInRoles.has(name)) continue;
    const role = await ctx.tryLoad(Role, name);
    if (role === undefined || role.isDeleted) throw new NotFound({ type: "role", id: name });
  }
  await requireAll(ctx, await permissionsOf(ctx, roles));
}

export async function requireAll(ctx: Granter, permissions: readonly string[]): Promise<void> {
  for (const permission of permissions) await ctx.require(permission);
}

/**
 * The limits of a key that the caller makes for an account. Who holds everything, and an account itself, may leave the
 * key unlimited: it then follows the account's roles. Anybody else must hold all that the key gives now, and the key
 * is limited to that: it cannot gain later what its maker never had.
 */
export async function keyLimits(
  ctx: Granter,
  account: User | ServiceAccount,
  wanted: readonly string[] | undefined,
): Promise<readonly string[] | undefined> {
  const { actor, onBehalfOf, limitedTo } = ctx.principal;
  const isItself = actor.type === account.account.type && actor.id === account.id;
  if ((isItself && onBehalfOf === undefined && limitedTo === undefined) || (await ctx.can("*"))) return wanted;
  const given = commonPermissions([SELF, ...(await permissionsOf(ctx, account.state.roles))], wanted ?? ["*"]);
  await requireAll(
    ctx,
    given.filter((permission) => permission !== SELF),
  );
  return given;
}
