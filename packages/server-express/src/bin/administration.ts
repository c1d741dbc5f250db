import { setTimeout } from "node:timers/promises";
import { type Armature, type EventLog, identity, NotFound, TenantCreated } from "@armature/core";
import { CommandRefused } from "./command-refused.ts";

/** The system itself, in one tenant: these commands come from who runs the server. */
const inTenant = (app: Armature, tenant: string) => app.as({ tenant, system: "armature-server" });

export async function createTenant(app: Armature, tenant: string, name: string | undefined): Promise<void> {
  await inTenant(app, tenant).identity.createTenant({ name: name ?? tenant });
}

export interface KeyRequest {
  readonly tenant: string;
  readonly account: { readonly type: "user" | "service"; readonly id: string };
  readonly role: string | undefined;
  readonly limitedTo: readonly string[] | undefined;
  readonly name: string;
}

/** The first key of a tenant: that of a user who may do everything in it. */
export function ownerKey(tenant: string, user: string): KeyRequest {
  return { tenant, account: { type: "user", id: user }, role: "owner", limitedTo: undefined, name: "first key" };
}

/**
 * Makes an API key, and the account that it is for when there is none yet.
 *
 * @returns the key's text, which nobody can see again
 */
export async function createKey(app: Armature, request: KeyRequest): Promise<string> {
  const { identity } = inTenant(app, request.tenant);
  const { account, role, limitedTo, name } = request;
  const present = await rolesOf(identity, account);
  if (present === undefined) {
    if (role === undefined)
      throw new CommandRefused(`There is no ${account.type} "${account.id}" yet: give --role to create it.`);
    if (account.type === "user") await identity.createUser({ userId: account.id, name: account.id, roles: [role] });
    else await identity.createServiceAccount({ serviceAccountId: account.id, name: account.id, roles: [role] });
  } else if (role !== undefined && !present.includes(role)) {
    // A key is asked for; that roles change with it would be a surprise.
    throw new CommandRefused(
      `The ${account.type} "${account.id}" exists already, without the role "${role}": leave --role out, or change its roles first.`,
    );
  }
  const limits = limitedTo === undefined ? {} : { limitedTo: [...limitedTo] };
  return (await identity.createApiKey({ name, account, ...limits })).key;
}

async function rolesOf(
  identity: ReturnType<Armature["as"]>["identity"],
  { type, id }: KeyRequest["account"],
): Promise<readonly string[] | undefined> {
  try {
    const account =
      type === "user"
        ? await identity.getUser({ userId: id })
        : await identity.getServiceAccount({ serviceAccountId: id });
    return account.roles;
  } catch (error) {
    if (error instanceof NotFound) return undefined;
    throw error;
  }
}

/** Projections are of all tenants: what is done to them is audited under a tenant of the server's own name. */
const projectionsOf = (app: Armature) => inTenant(app, "armature-server").projections;

/** Every projection, as `projections.list` shows it. */
export async function listProjections(app: Armature): Promise<readonly object[]> {
  return (await projectionsOf(app).list({})).items;
}

/** Gives a sentence that says what will happen now. */
export async function changeProjection(
  app: Armature,
  how: "pause" | "resume" | "rebuild",
  projection: string,
): Promise<string> {
  const { pause, resume, rebuild } = projectionsOf(app);
  if (how === "rebuild") {
    const { generation } = await rebuild({ projection });
    return `Generation ${generation} of the projection "${projection}" is being made; the server reads it when it has caught up.`;
  }
  if (how === "pause") {
    await pause({ projection });
    return `The projection "${projection}" is paused.`;
  }
  await resume({ projection });
  return `The projection "${projection}" goes on.`;
}

/**
 * Every tenant as its own `GET /tenant` shows it, in the order of their creation. No operation goes over tenants, so they
 * are found in the log of what has happened, which the store lets only the runtime and who runs the server read.
 */
export async function* listTenants(app: Armature, log: EventLog): AsyncIterable<object> {
  const head = await log.head(identity.name);
  let after = 0;
  for (let waits = 0; after < head; ) {
    const { items, upTo } = await log.read(identity.name, { after, types: [TenantCreated.type], limit: 200 });
    for (const { event } of items) yield await showTenant(app, event.tenant);
    if (upTo === after) {
      // A transaction is open that may still write an event in front of what is there.
      if (waits === MOST_WAITS)
        throw new CommandRefused(
          "The list ends here, because a transaction of the database does not: try again later.",
        );
      waits += 1;
      await setTimeout(WAIT_MS);
    }
    after = upTo;
  }
}
const WAIT_MS = 100;
const MOST_WAITS = 50;

/** A tenant as its own `GET /tenant` shows it. */
export function showTenant(app: Armature, tenant: string): Promise<object> {
  return inTenant(app, tenant).identity.getTenant();
}

export async function suspendTenant(app: Armature, tenant: string, reason: string | undefined): Promise<void> {
  await inTenant(app, tenant).identity.suspendTenant(reason === undefined ? {} : { reason });
}

export async function resumeTenant(app: Armature, tenant: string): Promise<void> {
  await inTenant(app, tenant).identity.resumeTenant();
}

/** Every API key of an account, the revoked ones too; none of them holds its secret. */
export async function* listKeys(
  app: Armature,
  tenant: string,
  { type, id }: KeyRequest["account"],
): AsyncIterable<object> {
  const { identity } = inTenant(app, tenant);
  for (let after: string | undefined; ; ) {
    const page = await identity.listApiKeys({ accountType: type, accountId: id, limit: 200, after });
    yield* page.items;
    if (page.next === undefined) return;
    after = page.next;
  }
}

export async function revokeKey(app: Armature, tenant: string, keyId: string): Promise<void> {
  await inTenant(app, tenant).identity.revokeApiKey({ keyId: keyId as `key_${string}` });
}
