import { type CommandContext, defineContext } from "../../kernel/context.ts";
import { AlreadyExists, InvalidInput, Unauthenticated } from "../../kernel/errors.ts";
import { covers, type Party, type Principal } from "../../kernel/principal.ts";
import { ApiKey } from "./api-key.ts";
import { makeApiKey, SECRET_BYTES } from "./api-key-text.ts";
import {
  AccountDisabled,
  ExpiryBeyondOwn,
  type Identity,
  identity,
  RoleIsBuiltIn,
  RoleNameRetired,
} from "./contract.ts";
import {
  aggregateType,
  grantsOf,
  grantsOfPrincipal,
  keyLimits,
  loadAccount,
  loadExistingAccount,
  permissionsOf,
  requireAll,
  requireRoles,
} from "./granting.ts";
import { builtInRoles, Role } from "./role.ts";
import { ServiceAccount } from "./service-account.ts";
import { Tenant } from "./tenant.ts";
import { User } from "./user.ts";

type Account = User | ServiceAccount;
type Command = CommandContext<Identity, never>;

/** Tenants, users, service accounts, roles and API keys. */
export const identityContext = defineContext(identity, {
  aggregates: [Tenant, User, ServiceAccount, Role, ApiKey],
  handlers: {
    createTenant: async ({ name }, ctx) => {
      const existing = await ctx.tryLoad(Tenant, ctx.tenant);
      if (existing !== undefined) throw new AlreadyExists({ type: "tenant", id: ctx.tenant });
      ctx.add(Tenant.create(ctx.tenant, name, ctx.now));
      return { tenantId: ctx.tenant };
    },
    getTenant: async (_input, ctx) => {
      const { version, state } = await ctx.load(Tenant, ctx.tenant);
      const { name, status, createdAt } = state;
      return { tenantId: ctx.tenant, version, name, status, createdAt };
    },
    renameTenant: async ({ name }, ctx) => (await ctx.load(Tenant, ctx.tenant)).rename(name),
    suspendTenant: async ({ reason }, ctx) => (await ctx.load(Tenant, ctx.tenant)).suspend(reason),
    resumeTenant: async (_input, ctx) => (await ctx.load(Tenant, ctx.tenant)).resume(),

    createUser: async (input, ctx) => {
      const userId = input.userId ?? ctx.newId("usr");
      await createAccount(ctx, User.create(userId, input, input.roles, ctx.now));
      return { userId };
    },
    getUser: async ({ userId }, ctx) => userView(await ctx.load(User, userId)),
    listUsers: async ({ status, ...page }, ctx) => {
      const { items, next } = await ctx.find(User, { ...page, where: { status } });
      return { items: items.map(userView), next };
    },
    updateUser: async ({ userId, ...changes }, ctx) => (await ctx.load(User, userId)).update(changes),
    setUserRoles: async ({ userId, roles }, ctx) => setRoles(ctx, await ctx.load(User, userId), roles),
    disableUser: async ({ userId }, ctx) => disable(ctx, await ctx.load(User, userId)),
    enableUser: async ({ userId }, ctx) => enable(ctx, await ctx.load(User, userId)),

    createServiceAccount: async (input, ctx) => {
      const serviceAccountId = input.serviceAccountId ?? ctx.newId("svc");
      await createAccount(ctx, ServiceAccount.create(serviceAccountId, input.name, input.roles, ctx.now));
      return { serviceAccountId };
    },
    getServiceAccount: async ({ serviceAccountId }, ctx) =>
      serviceAccountView(await ctx.load(ServiceAccount, serviceAccountId)),
    listServiceAccounts: async ({ status, ...page }, ctx) => {
      const { items, next } = await ctx.find(ServiceAccount, { ...page, where: { status } });
      return { items: items.map(serviceAccountView), next };
    },
    setServiceAccountRoles: async ({ serviceAccountId, roles }, ctx) =>
      setRoles(ctx, await ctx.load(ServiceAccount, serviceAccountId), roles),
    disableServiceAccount: async ({ serviceAccountId }, ctx) =>
      disable(ctx, await ctx.load(ServiceAccount, serviceAccountId)),
    enableServiceAccount: async ({ serviceAccountId }, ctx) =>
      enable(ctx, await ctx.load(ServiceAccount, serviceAccountId)),

    createRole: async ({ role, permissions }, ctx) => {
      const existing = await ctx.tryLoad(Role, role);
      if (existing?.isDeleted === true) throw new RoleNameRetired({ role });
      if (existing !== undefined || builtInRoles.has(role)) throw new AlreadyExists({ type: "role", id: role });
      await requireAll(ctx, permissions);
      ctx.add(Role.create(role, permissions, ctx.now));
    },
    updateRole: async ({ role, permissions }, ctx) => {
      if (builtInRoles.has(role)) throw new RoleIsBuiltIn({ role });
      const existing = await ctx.load(Role, role);
      const has = (permission: string) => existing.permissions.some((held) => covers(held, permission));
      await requireAll(
        ctx,
        permissions.filter((permission) => !has(permission)),
      );
      existing.update(permissions);
    },
    listRoles: async (page, ctx) => {
      const { items, next } = await ctx.find(Role, { ...page, where: { status: "active" } });
      const builtIn = [...builtInRoles].map(([role, permissions]) => ({
        role,
        permissions: [...permissions],
        builtIn: true,
      }));
      const own = items.map((role) => ({
        role: role.id,
        version: role.version,
        permissions: [...role.permissions],
        builtIn: false,
      }));
      return { items: page.after === undefined ? [...builtIn, ...own] : own, next };
    },
    deleteRole: async ({ role }, ctx) => {
      if (builtInRoles.has(role)) throw new RoleIsBuiltIn({ role });
      (await ctx.load(Role, role)).delete();
    },

    createApiKey: async ({ name, limitedTo, expiresAt, ...input }, ctx) => {
      const account = input.account ?? requireCaller(ctx.principal);
      if (!isCaller(ctx.principal, account)) await ctx.require("identity:write");
      const holder = await loadExistingAccount(ctx, account);
      if (!holder.isActive) throw new AccountDisabled({ account });
      const limits = await keyLimits(ctx, holder, limitedTo);
      await requireExpiryWithinOwn(ctx, expiresAt);
      const keyId = ctx.newId("key");
      const { key, proof } = makeApiKey(ctx.tenant, keyId, ctx.random(SECRET_BYTES));
      ctx.add(ApiKey.create(keyId, { account, name, limitedTo: limits, expiresAt }, proof, ctx.now));
      return { keyId, key };
    },
    listApiKeys: async ({ accountType, accountId, ...page }, ctx) => {
      const account =
        accountType === undefined || accountId === undefined
          ? requireCaller(ctx.principal)
          : { type: accountType, id: accountId };
      if (!isCaller(ctx.principal, account)) await ctx.require("identity:read");
      const where = { accountType: account.type, accountId: account.id };
      const { items, next } = await ctx.find(ApiKey, { ...page, where });
      return { items: items.map(apiKeyView), next };
    },
    revokeApiKey: async ({ keyId }, ctx) => {
      const key = await ctx.load(ApiKey, keyId);
      if (!isCaller(ctx.principal, key.account)) await ctx.require("identity:write");
      key.revoke(ctx.now);
    },

    whoAmI: async (_input, ctx) => {
      const { tenant, actor, onBehalfOf } = ctx.principal;
      return { tenant, actor, onBehalfOf, permissions: [...(await grantsOfPrincipal(ctx, ctx.principal))] };
    },
    authenticateApiKey: async ({ keyId, secretHash }, ctx) => {
      const [key, tenant] = await Promise.all([ctx.tryLoad(ApiKey, keyId), ctx.tryLoad(Tenant, ctx.tenant)]);
      // One error for every reason: it must not tell a guesser what was right about the guess.
      if (key?.accepts(secretHash, ctx.now) !== true || tenant?.state.status !== "active")
        throw new Unauthenticated({});
      const holder = await loadAccount(ctx, key.account);
      if (holder?.isActive !== true) throw new Unauthenticated({});
      return { tenant: ctx.tenant, actor: key.account, limitedTo: key.state.limitedTo, credential: key.id };
    },
    grantsOf: async ({ account }, ctx) => ({ permissions: [...(await grantsOf(ctx, account))] }),
  },
});

async function createAccount(ctx: Command, account: Account): Promise<void> {
  // In the order in which their events are to stand in the log.
  const [existing, tenant] = await Promise.all([loadAccount(ctx, account.account), ctx.load(Tenant, ctx.tenant)]);
  if (existing !== undefined) throw new AlreadyExists({ type: aggregateType(account.account), id: account.id });
  await requireRoles(ctx, account.state.roles);
  ctx.add(account);
  tenant.ownershipChanged(account.account, false, account.isActiveOwner);
}

async function setRoles(ctx: Command, account: Account, roles: readonly string[]): Promise<void> {
  await requireRoles(
    ctx,
    roles.filter((role) => !account.state.roles.includes(role)),
  );
  await keepingAnOwner(ctx, account, () => account.setRoles(roles));
}

async function disable(ctx: Command, account: Account): Promise<void> {
  await keepingAnOwner(ctx, account, () => account.disable());
}

async function enable(ctx: Command, account: Account): Promise<void> {
  await requireAll(ctx, await permissionsOf(ctx, account.state.roles));
  await keepingAnOwner(ctx, account, () => account.enable());
}

async function keepingAnOwner(ctx: Command, account: Account, change: () => void): Promise<void> {
  const before = account.isActiveOwner;
  change();
  if (account.isActiveOwner === before) return;
  const tenant = await ctx.load(Tenant, ctx.tenant);
  tenant.ownershipChanged(account.account, before, account.isActiveOwner);
}

// The key that the caller presents; a host's principal may name a credential that is none of ours.
async function requireExpiryWithinOwn(ctx: Command, expiresAt: string | undefined): Promise<void> {
  const { credential } = ctx.principal;
  const own = credential === undefined ? undefined : (await ctx.tryLoad(ApiKey, credential))?.state.expiresAt;
  if (own !== undefined && (expiresAt === undefined || Date.parse(expiresAt) > Date.parse(own)))
    throw new ExpiryBeyondOwn({ expiresAt: own });
}

/** The account that the caller is, or that an agent acts for. The system is none. */
function caller({ actor, onBehalfOf }: Principal): Party | undefined {
  if (actor.type === "user" || actor.type === "service") return { type: actor.type, id: actor.id };
  return actor.type === "agent" ? onBehalfOf : undefined;
}

function requireCaller(principal: Principal): Party {
  const account = caller(principal);
  if (account !== undefined) return account;
  const message = "must be given by a caller that is no account itself";
  throw new InvalidInput({ subject: "The input", issues: [{ path: "account", message }] });
}

function isCaller(principal: Principal, account: Party): boolean {
  const self = caller(principal);
  return self?.type === account.type && self.id === account.id;
}

function userView(user: User) {
  return { userId: user.id, version: user.version, ...user.state };
}

function serviceAccountView(service: ServiceAccount) {
  return { serviceAccountId: service.id, version: service.version, ...service.state };
}

function apiKeyView(key: ApiKey) {
  const { name, lastFour, limitedTo, expiresAt, revokedAt, createdAt } = key.state;
  return {
    keyId: key.id,
    version: key.version,
    account: key.account,
    name,
    lastFour,
    limitedTo,
    expiresAt,
    revokedAt,
    createdAt,
  };
}
