import { z } from "zod";
import { parse } from "./parse.ts";

/** Lower-case letters, digits and hyphens, at most 63: a tenant id can stand in a key, a path and a schema. */
export const tenantId = z
  .string()
  .regex(/^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/, "must be 1 to 63 lower-case letters, digits or hyphens");

const actorId = z
  .string()
  .min(1)
  .max(200)
  .refine((id) => id.isWellFormed() && !id.includes("\0"), "must be well-formed text without NUL");
const party = z.strictObject({ type: z.enum(["user", "service"]), id: actorId });
const actor = z.strictObject({ type: z.enum(["user", "service", "agent", "system"]), id: actorId });
const permissions = z.array(z.string().min(1).max(200)).max(1000);

export const principalSchema = z.strictObject({
  tenant: tenantId,
  actor,
  onBehalfOf: party.optional(),
  limitedTo: permissions.optional(),
  credential: z.string().min(1).max(200).optional(),
});

export type ActorType = "user" | "service" | "agent" | "system";

/** Who acts: a person, a machine account, an agent, or Armature itself. */
export interface Actor {
  readonly type: ActorType;
  readonly id: string;
}

/** The person or service that an actor acts for. */
export interface Party {
  readonly type: "user" | "service";
  readonly id: string;
}

/** Who calls: a tenant, an actor, and on whose behalf. Every call has one. */
export interface Principal {
  readonly tenant: string;
  readonly actor: Actor;
  /** The person or service that an agent or the system acts for. An agent can never do what that party may not. */
  readonly onBehalfOf?: Party | undefined;
  /** Permissions that the credential is limited to; without it, all that the actor has. */
  readonly limitedTo?: readonly string[] | undefined;
  /** Id of what the caller proved itself with, `key_01k…`: it stands in the audit beside the actor. */
  readonly credential?: string | undefined;
}

/** The short forms that `app.as` takes. */
export type PrincipalInput =
  | Principal
  | { readonly tenant: string; readonly agent: string; readonly onBehalfOf: Party }
  | { readonly tenant: string; readonly system: string }
  | { readonly tenant: string; readonly service: string }
  | { readonly tenant: string; readonly user: string };

/** Expands a short form and checks it. Throws `InvalidInput`. */
export function toPrincipal(input: PrincipalInput): Principal {
  const principal = parse(principalSchema, expand(input), "The principal") as Principal;
  for (const part of [principal.actor, principal.onBehalfOf, principal.limitedTo]) Object.freeze(part);
  return Object.freeze(principal);
}

function expand(input: PrincipalInput): unknown {
  if (input === null || typeof input !== "object" || "actor" in input) return input;
  const { tenant } = input;
  if ("user" in input) return { ...rest(input, "user"), tenant, actor: { type: "user", id: input.user } };
  if ("service" in input) return { ...rest(input, "service"), tenant, actor: { type: "service", id: input.service } };
  if ("agent" in input) return { ...rest(input, "agent"), tenant, actor: { type: "agent", id: input.agent } };
  return { ...rest(input, "system"), tenant, actor: { type: "system", id: (input as { system: string }).system } };
}

// What the caller wrote beside the short form stays, so that the strict schema can name it.
function rest(input: object, key: string): Record<string, unknown> {
  const copy: Record<string, unknown> = { ...input };
  delete copy[key];
  return copy;
}

/** Who acts, where that is a user or a service account: somebody whom others can act for. */
export function asParty({ type, id }: Actor): Party | undefined {
  return type === "user" || type === "service" ? { type, id } : undefined;
}

/** `user:ann`, or `agent:merge on behalf of user:ann`: for sentences. */
export function describePrincipal(principal: Principal): string {
  const self = `${principal.actor.type}:${principal.actor.id}`;
  return principal.onBehalfOf === undefined
    ? self
    : `${self} on behalf of ${principal.onBehalfOf.type}:${principal.onBehalfOf.id}`;
}

/** Whether `granted` (exact, `connectors:*` or `*`) covers `permission`. */
export function covers(granted: string, permission: string): boolean {
  if (granted === "*" || granted === permission) return true;
  return granted.endsWith(":*") && permission.startsWith(granted.slice(0, -1));
}

/** The permissions that both lists cover. */
export function commonPermissions(some: readonly string[], others: readonly string[]): readonly string[] {
  const common = some.flatMap((one) =>
    others.flatMap((other) => (covers(one, other) ? [other] : covers(other, one) ? [one] : [])),
  );
  return [...new Set(common)];
}
