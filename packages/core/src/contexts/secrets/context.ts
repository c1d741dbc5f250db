import { type ActionContext, defineContext } from "../../kernel/context.ts";
import { NotFound } from "../../kernel/errors.ts";
import { SecretVersionConflict } from "../../kernel/port-errors.ts";
import { Secret } from "../../kernel/secret.ts";
import { SecretRevealDisabled, type Secrets, secrets } from "./contract.ts";

type Action = ActionContext<Secrets, never>;

/** Keeps a tenant's own names apart from what contexts store, so that no name reaches a connection's credential. */
const OWN = "tenant/";

/**
 * The secrets that a tenant keeps for itself. All operations are actions: the store of secrets is an outside system.
 *
 * @param options.allowReveal whether `reveal` may return plaintext; false when absent
 */
export function secretsContext(options: { readonly allowReveal?: boolean | undefined } = {}) {
  return defineContext(secrets, {
    handlers: {
      put: async ({ name, value, expectedVersion }, ctx) => {
        const version = await writtenBefore(ctx, name, value, expectedVersion);
        if (version !== undefined) return { version };
        try {
          return { version: await ctx.secrets.put(ctx.tenant, `${OWN}${name}`, new Secret(value), expectedVersion) };
        } catch (error) {
          if (!(error instanceof SecretVersionConflict)) throw error;
          throw new SecretVersionConflict({ name, expected: error.details.expected }, { cause: error });
        }
      },
      list: async ({ limit = 50, after = "" }, ctx) => {
        const names = (await ctx.secrets.list(ctx.tenant, OWN)).map((full) => full.slice(OWN.length));
        const rest = names.filter((name) => name > after);
        const items = rest.slice(0, limit).map((name) => ({ name }));
        return { items, next: rest.length > limit ? items.at(-1)?.name : undefined };
      },
      delete: async ({ name }, ctx) => {
        // A list, not a read: what no longer opens must still be deletable.
        const exists = (await ctx.secrets.list(ctx.tenant, `${OWN}${name}`)).includes(`${OWN}${name}`);
        if (exists) return ctx.secrets.delete(ctx.tenant, `${OWN}${name}`);
        // An attempt that was cut off may have deleted it: then the call has what it asked for.
        if (ctx.attempt === 1) throw new NotFound({ type: "secret", id: name });
      },
      reveal: async ({ name, version }, ctx) => {
        if (options.allowReveal !== true) throw new SecretRevealDisabled({});
        const found = await ctx.secrets.get(ctx.tenant, `${OWN}${name}`, version);
        if (found === undefined) throw new NotFound({ type: "secret", id: name });
        return { name, version: found.version, value: found.value.reveal() };
      },
    },
  });
}

// What an attempt that was cut off has written already.
async function writtenBefore(ctx: Action, name: string, value: string, expectedVersion = 0) {
  if (ctx.attempt === 1) return undefined;
  const newest = await ctx.secrets.get(ctx.tenant, `${OWN}${name}`);
  return newest !== undefined && newest.version > expectedVersion && newest.value.reveal() === value
    ? newest.version
    : undefined;
}
