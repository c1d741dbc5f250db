import { defineContext } from "../../kernel/context.ts";
import type { AuditQuery, AuditRow, EventQuery, Page, StoredEvent } from "../../kernel/store.ts";
import { audit } from "./contract.ts";
import { exported } from "./exported.ts";

/** Where the audit context reads from: the store, over the contexts that run in this process. */
export interface AuditSources {
  readonly auditRows: (tenant: string, query: Omit<AuditQuery, "contexts">) => Promise<Page<AuditRow>>;
  readonly events: (tenant: string, query: Omit<EventQuery, "contexts">) => Promise<Page<StoredEvent>>;
}

const DEFAULT_PAGE = 50;
const EXPORT_PAGE = 500;

/** Ids are in order of time up to the difference between the clocks of the processes that made them. */
const CLOCKS_APART_MS = 60_000;

const earlier = (until: string | undefined, now: string): string =>
  until !== undefined && Date.parse(until) < Date.parse(now) ? until : now;

/** Shows a tenant what was done in it and by whom. It keeps nothing itself: rows and events commit with each change. */
export function auditContext({ auditRows, events }: AuditSources) {
  return defineContext(audit, {
    handlers: {
      list: async ({ actor, limit = DEFAULT_PAGE, ...filter }, ctx) => {
        const { items, next } = await auditRows(ctx.tenant, { ...filter, actorId: actor, limit });
        return { items: [...items], next };
      },
      export: async function* ({ actor: actorId, until, ...filter }, ctx) {
        const end = earlier(until, ctx.now);
        const page = (after: string | undefined) =>
          auditRows(ctx.tenant, { ...filter, actorId, until: end, direction: "asc", limit: EXPORT_PAGE, after });
        yield* exported(page, ctx.after, () => true);
      },
      exportEvents: async function* ({ types, since, until }, ctx) {
        const end = Date.parse(earlier(until, ctx.now));
        const start = since === undefined ? Number.NEGATIVE_INFINITY : Date.parse(since);
        const page = (after: string | undefined) =>
          events(ctx.tenant, { types, direction: "asc", limit: EXPORT_PAGE, after });
        yield* exported(
          page,
          ctx.after,
          ({ time }) => {
            const at = Date.parse(time);
            return at >= start && at < end;
          },
          ({ time }) => Date.parse(time) >= end + CLOCKS_APART_MS,
        );
      },
      events: async ({ aggregateType: type, aggregateId: id, limit = DEFAULT_PAGE, ...filter }, ctx) => {
        const aggregate = type === undefined || id === undefined ? undefined : { type, id };
        const { items, next } = await events(ctx.tenant, { ...filter, aggregate, limit });
        return { items: [...items], next };
      },
    },
  });
}
