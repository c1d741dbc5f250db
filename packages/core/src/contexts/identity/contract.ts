// One page on purpose, although a long one: everything that other contexts may know of identity.
import { z } from "zod";
import { command, defineContract, query } from "../../kernel/contract.ts";
import { defineError } from "../../kernel/errors.ts";
import { defineEvent } from "../../kernel/event.ts";
import { pageOf, paging } from "../../kernel/paging.ts";
import { tenantId } from "../../kernel/principal.ts";
import { sensitive } from "../../kernel/sensitive.ts";

const instant = z.iso.datetime();
const name = z.string().trim().min(1).max(200);
const accountStatus = z.enum(["active", "disabled"]);

/**
 * The host's own id of a person or machine, `ann` or `auth0|5f7c`, or one that we made, `usr_01k…`. It stands in events
 * and audit rows for good, so it cannot be an e-mail address.
 */
const accountId = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9._:|+-]{0,199}$/, "must be 1 to 200 letters, digits or any of . _ : | + -");
const keyId = z.string().regex(/^key_[0-9a-z]{1,60}$/, "must be an API key's id");
const role = z
  .string()
  .regex(/^[a-z][a-z0-9-]{0,62}$/, "must be at most 63 lower-case letters, digits or hyphens, and start with a letter");
const roles = z.array(role).max(50);
const permission = z
  .string()
  .max(200)
  .regex(
    /^(\*|[a-z][a-z0-9_]*(:[A-Za-z0-9_.-]+)*:(\*|[A-Za-z0-9_.-]+))$/,
    'must read like "connectors:read", "connectors:*" or "*"',
  );
const permissions = z.array(permission).max(500);

/** A user or a service account: what holds roles and API keys. */
const account = z.object({ type: z.enum(["user", "service"]), id: accountId });
const accountInput = z.strictObject({ type: z.enum(["user", "service"]), id: accountId });

/** What only the identity context's own rows hold: an event about a user has the id and nothing of this. */
const personName = sensitive(name);
const email = sensitive(z.email().max(254));

export const TenantCreated = defineEvent("identity.tenant_created", {
  version: 1,
  data: z.object({ name, at: instant }),
});
export const TenantRenamed = defineEvent("identity.tenant_renamed", { version: 1, data: z.object({ name }) });
export const TenantSuspended = defineEvent("identity.tenant_suspended", {
  version: 1,
  data: z.object({ reason: z.string().max(500).optional() }),
});
export const TenantResumed = defineEvent("identity.tenant_resumed", { version: 1, data: z.object({}) });
export const OwnerAdded = defineEvent("identity.owner_added", { version: 1, data: z.object({ account }) });
export const OwnerRemoved = defineEvent("identity.owner_removed", { version: 1, data: z.object({ account }) });

export const UserCreated = defineEvent("identity.user_created", {
  version: 1,
  data: z.object({ userId: accountId, roles, at: instant }),
});
export const UserUpdated = defineEvent("identity.user_updated", {
  version: 1,
  data: z.object({ userId: accountId, changed: z.array(z.enum(["name", "email"])) }),
});
export const UserDisabled = defineEvent("identity.user_disabled", {
  version: 1,
  data: z.object({ userId: accountId }),
});
export const UserEnabled = defineEvent("identity.user_enabled", { version: 1, data: z.object({ userId: accountId }) });

export const ServiceAccountCreated = defineEvent("identity.service_account_created", {
  version: 1,
  data: z.object({ serviceAccountId: accountId, name, roles, at: instant }),
});
export const ServiceAccountDisabled = defineEvent("identity.service_account_disabled", {
  version: 1,
  data: z.object({ serviceAccountId: accountId }),
});
export const ServiceAccountEnabled = defineEvent("identity.service_account_enabled", {
  version: 1,
  data: z.object({ serviceAccountId: accountId }),
});
/** The roles of a user or service account are now these. */
export const RolesChanged = defineEvent("identity.roles_changed", { version: 1, data: z.object({ account, roles }) });

export const RoleCreated = defineEvent("identity.role_created", {
  version: 1,
  data: z.object({ role, permissions, at: instant }),
});
export const RoleUpdated = defineEvent("identity.role_updated", { version: 1, data: z.object({ role, permissions }) });
export const RoleDeleted = defineEvent("identity.role_deleted", { version: 1, data: z.object({ role }) });

export const ApiKeyCreated = defineEvent("identity.api_key_created", {
  version: 1,
  data: z.object({
    keyId,
    account,
    name,
    limitedTo: permissions.optional(),
    expiresAt: instant.optional(),
    at: instant,
  }),
});
export const ApiKeyRevoked = defineEvent("identity.api_key_revoked", {
  version: 1,
  data: z.object({ keyId, account, at: instant }),
});

const none = z.object({});
const accountDetails = z.object({ account });

export class TenantAlreadySuspended extends defineError("identity.tenant_already_suspended", {
  kind: "precondition",
  details: none,
  message: () => "The tenant is suspended already.",
}) {}

export class TenantNotSuspended extends defineError("identity.tenant_not_suspended", {
  kind: "precondition",
  details: none,
  message: () => "The tenant is not suspended.",
}) {}

/** Without an owner nobody could ever give permissions in the tenant again. */
export class LastOwner extends defineError("identity.last_owner", {
  kind: "precondition",
  details: accountDetails,
  message: ({ account }) =>
    `${account.type}:${account.id} is the tenant's last owner and can neither be disabled nor lose the role "owner".`,
}) {}

export class AccountDisabled extends defineError("identity.account_disabled", {
  kind: "precondition",
  details: accountDetails,
  message: ({ account }) => `${account.type}:${account.id} is disabled.`,
}) {}

export class AccountNotDisabled extends defineError("identity.account_not_disabled", {
  kind: "precondition",
  details: accountDetails,
  message: ({ account }) => `${account.type}:${account.id} is not disabled.`,
}) {}

export class RoleIsBuiltIn extends defineError("identity.role_is_built_in", {
  kind: "precondition",
  details: z.object({ role: z.string() }),
  message: ({ role }) => `The role "${role}" is built in and cannot be changed or deleted.`,
}) {}

/** Users may still list a deleted role; a new one of the same name would give them permissions that nobody meant. */
export class RoleNameRetired extends defineError("identity.role_name_retired", {
  kind: "conflict",
  details: z.object({ role: z.string() }),
  message: ({ role }) => `The role "${role}" was deleted; its name is not given again.`,
}) {}

export class ApiKeyAlreadyRevoked extends defineError("identity.api_key_already_revoked", {
  kind: "precondition",
  details: z.object({ keyId: z.string() }),
  message: ({ keyId }) => `The API key "${keyId}" is revoked already.`,
}) {}

export class ExpiryInThePast extends defineError("identity.expiry_in_the_past", {
  kind: "invalid",
  details: z.object({ expiresAt: z.string() }),
  message: ({ expiresAt }) => `The API key would expire at ${expiresAt}, which is in the past.`,
}) {}

/** Otherwise who finds a key could make it last for ever. */
export class ExpiryBeyondOwn extends defineError("identity.expiry_beyond_own", {
  kind: "invalid",
  details: z.object({ expiresAt: z.string() }),
  message: ({ expiresAt }) =>
    `The caller's own API key expires at ${expiresAt}; a key made with it must expire by then.`,
}) {}

const nothing = z.strictObject({});
const tenantView = z.object({
  tenantId,
  version: z.int(),
  name,
  status: z.enum(["active", "suspended"]),
  createdAt: instant,
});
const userView = z.object({
  userId: accountId,
  version: z.int(),
  name: personName,
  email: email.optional(),
  roles,
  status: accountStatus,
  createdAt: instant,
});
const serviceAccountView = z.object({
  serviceAccountId: accountId,
  version: z.int(),
  name,
  roles,
  status: accountStatus,
  createdAt: instant,
});
const roleView = z.object({
  role,
  /** Built-in roles never change and have none. */
  version: z.int().optional(),
  permissions,
  builtIn: z.boolean(),
});
const apiKeyView = z.object({
  keyId,
  version: z.int(),
  account,
  name,
  /** The key's last four characters, to recognise it by. */
  lastFour: z.string(),
  limitedTo: permissions.optional(),
  expiresAt: instant.optional(),
  revokedAt: instant.optional(),
  createdAt: instant,
});
const userRef = z.strictObject({ userId: accountId });
const serviceAccountRef = z.strictObject({ serviceAccountId: accountId });
const accountList = z.strictObject({ ...paging, status: accountStatus.optional() });

const contract = defineContract(
  "identity",
  {
    createTenant: command({
      input: z.strictObject({ name }),
      output: z.object({ tenantId }),
      permission: "identity:tenants",
      summary: "Creates the tenant that the system principal calls for.",
    }),
    getTenant: query({
      input: nothing,
      output: tenantView,
      permission: "identity:read",
      http: "GET /tenant",
      target: "tenant",
      summary: "Shows the tenant.",
    }),
    renameTenant: command({
      input: z.strictObject({ name }),
      permission: "identity:write",
      http: "PATCH /tenant",
      target: "tenant",
      summary: "Gives the tenant another name.",
    }),
    suspendTenant: command({
      input: z.strictObject({ reason: z.string().trim().min(1).max(500).optional() }),
      permission: "identity:tenants",
      errors: [TenantAlreadySuspended],
      summary: "Suspends the tenant: until it is resumed its users, services and keys may do nothing.",
    }),
    resumeTenant: command({
      input: nothing,
      permission: "identity:tenants",
      errors: [TenantNotSuspended],
      summary: "Ends the tenant's suspension.",
    }),

    createUser: command({
      input: z.strictObject({
        userId: accountId.optional(),
        name: personName,
        email: email.optional(),
        roles: roles.default([]),
      }),
      output: z.object({ userId: accountId }),
      permission: "identity:write",
      http: "POST /users",
      target: "userId",
      summary: "Creates a user, under the host's own id or one that is made.",
    }),
    getUser: query({
      input: userRef,
      output: userView,
      permission: "identity:read",
      http: "GET /users/{userId}",
      summary: "Shows a user.",
    }),
    listUsers: query({
      input: accountList,
      output: pageOf(userView),
      permission: "identity:read",
      http: "GET /users",
      summary: "Lists the tenant's users, by id.",
    }),
    updateUser: command({
      input: z.strictObject({ userId: accountId, name: personName.optional(), email: email.nullable().optional() }),
      permission: "identity:write",
      http: "PATCH /users/{userId}",
      summary: "Changes a user's name or e-mail address; null takes the address away.",
    }),
    setUserRoles: command({
      input: z.strictObject({ userId: accountId, roles }),
      permission: "identity:write",
      http: "PUT /users/{userId}/roles",
      errors: [LastOwner],
      summary: "Replaces a user's roles. The caller must hold every permission of the roles that are added.",
    }),
    disableUser: command({
      input: userRef,
      permission: "identity:write",
      http: "POST /users/{userId}/disable",
      errors: [AccountDisabled, LastOwner],
      summary: "Disables a user: the user and the user's keys may do nothing.",
    }),
    enableUser: command({
      input: userRef,
      permission: "identity:write",
      http: "POST /users/{userId}/enable",
      errors: [AccountNotDisabled],
      summary: "Enables a disabled user. The caller must hold every permission that the user gets back.",
    }),

    createServiceAccount: command({
      input: z.strictObject({ serviceAccountId: accountId.optional(), name, roles: roles.default([]) }),
      output: z.object({ serviceAccountId: accountId }),
      permission: "identity:write",
      http: "POST /service-accounts",
      target: "serviceAccountId",
      summary: "Creates a service account, under the host's own id or one that is made.",
    }),
    getServiceAccount: query({
      input: serviceAccountRef,
      output: serviceAccountView,
      permission: "identity:read",
      http: "GET /service-accounts/{serviceAccountId}",
      summary: "Shows a service account.",
    }),
    listServiceAccounts: query({
      input: accountList,
      output: pageOf(serviceAccountView),
      permission: "identity:read",
      http: "GET /service-accounts",
      summary: "Lists the tenant's service accounts, by id.",
    }),
    setServiceAccountRoles: command({
      input: z.strictObject({ serviceAccountId: accountId, roles }),
      permission: "identity:write",
      http: "PUT /service-accounts/{serviceAccountId}/roles",
      errors: [LastOwner],
      summary: "Replaces a service account's roles. The caller must hold every permission of the roles that are added.",
    }),
    disableServiceAccount: command({
      input: serviceAccountRef,
      permission: "identity:write",
      http: "POST /service-accounts/{serviceAccountId}/disable",
      errors: [AccountDisabled, LastOwner],
      summary: "Disables a service account: it and its keys may do nothing.",
    }),
    enableServiceAccount: command({
      input: serviceAccountRef,
      permission: "identity:write",
      http: "POST /service-accounts/{serviceAccountId}/enable",
      errors: [AccountNotDisabled],
      summary: "Enables a disabled service account. The caller must hold every permission that it gets back.",
    }),

    createRole: command({
      input: z.strictObject({ role, permissions }),
      permission: "identity:write",
      http: "POST /roles",
      errors: [RoleNameRetired],
      target: "role",
      summary: "Creates a role. The caller must hold every permission in it.",
    }),
    updateRole: command({
      input: z.strictObject({ role, permissions }),
      permission: "identity:write",
      http: "PUT /roles/{role}",
      errors: [RoleIsBuiltIn],
      summary: "Replaces a role's permissions. The caller must hold every permission that is added.",
    }),
    listRoles: query({
      input: z.strictObject({ ...paging }),
      output: pageOf(roleView),
      permission: "identity:read",
      http: "GET /roles",
      summary: "Lists the tenant's roles by name; the built-in ones stand before the first page.",
    }),
    deleteRole: command({
      input: z.strictObject({ role }),
      permission: "identity:write",
      http: "DELETE /roles/{role}",
      errors: [RoleIsBuiltIn],
      summary: "Deletes a role: who has it loses its permissions. The name is not given again.",
    }),

    createApiKey: command({
      input: z.strictObject({
        name,
        account: accountInput.optional(),
        limitedTo: permissions.optional(),
        expiresAt: instant.optional(),
      }),
      output: z.object({ keyId, key: sensitive(z.string()) }),
      permission: "identity:keys",
      http: "POST /api-keys",
      errors: [AccountDisabled, ExpiryInThePast, ExpiryBeyondOwn],
      summary: "Makes an API key for the caller, or for another account, and shows it this once.",
    }),
    listApiKeys: query({
      input: z
        .strictObject({
          ...paging,
          accountType: z.enum(["user", "service"]).optional(),
          accountId: accountId.optional(),
        })
        .refine((input) => (input.accountType === undefined) === (input.accountId === undefined), {
          message: "accountType and accountId go together",
        }),
      output: pageOf(apiKeyView),
      permission: "identity:keys",
      http: "GET /api-keys",
      summary: "Lists the caller's API keys, or those of the given account.",
    }),
    revokeApiKey: command({
      input: z.strictObject({ keyId }),
      permission: "identity:keys",
      http: "POST /api-keys/{keyId}/revoke",
      errors: [ApiKeyAlreadyRevoked],
      summary: "Revokes an API key for good.",
    }),

    whoAmI: query({
      input: nothing,
      output: z.object({
        tenant: tenantId,
        actor: z.object({ type: z.enum(["user", "service", "agent", "system"]), id: z.string() }),
        onBehalfOf: z.object({ type: z.enum(["user", "service"]), id: z.string() }).optional(),
        permissions: z.array(z.string()),
      }),
      permission: "identity:self",
      http: "GET /me",
      summary: "Shows who the caller is and what the caller may do.",
    }),
    authenticateApiKey: query({
      input: z.strictObject({ keyId, secretHash: sensitive(z.string().regex(/^[0-9a-f]{64}$/)) }),
      output: z.object({ tenant: tenantId, actor: account, limitedTo: permissions.optional(), credential: keyId }),
      permission: "identity:authenticate",
      summary: "Finds out whose API key it is.",
    }),
    grantsOf: query({
      input: z.strictObject({ account: accountInput }),
      output: z.object({ permissions: z.array(z.string()) }),
      permission: "identity:authenticate",
      summary: "What an account's roles give; nothing while it is disabled or its tenant suspended.",
    }),
  },
  {
    events: [
      TenantCreated,
      TenantRenamed,
      TenantSuspended,
      TenantResumed,
      OwnerAdded,
      OwnerRemoved,
      UserCreated,
      UserUpdated,
      UserDisabled,
      UserEnabled,
      ServiceAccountCreated,
      ServiceAccountDisabled,
      ServiceAccountEnabled,
      RolesChanged,
      RoleCreated,
      RoleUpdated,
      RoleDeleted,
      ApiKeyCreated,
      ApiKeyRevoked,
    ],
  },
);

export interface Identity extends Readonly<typeof contract> {}
/** Tenants, users, service accounts, roles and API keys. */
export const identity: Identity = contract;
