import { defineContext } from "../../kernel/context.ts";
import type { AuditQuery, AuditRow, EventQuery, Page, StoredEvent } from "../../kernel/store.ts";
import { audit } from "./contract.ts";

/** Where the audit context reads from: the store, over the contexts that run in this process. */
export interface AuditSources {
  readonly auditRows: (tenant: string, query: Omit<AuditQuery, "contexts">) => Promise<Page<AuditRow>>;
  readonly events: (tenant: string, query: Omit<EventQuery, "contexts">) => Promise<Page<StoredEvent>>;
}

const DEFAULT_PAGE = 50;

/** Shows a tenant what was done in it and by whom. It keeps nothing itself: rows and events commit with each change. */
export function auditContext({ auditRows, events }: AuditSources) {
  return defineContext(audit, {
    handlers: {
      list: async ({ actor, limit = DEFAULT_PAGE, ...filter }, ctx) => {
        const { items, next } = await auditRows(ctx.tenant, { ...filter, actorId: actor, limit });
        return { items: [...items], next };
      },
      events: async ({ aggregateType: type, aggregateId: id, limit = DEFAULT_PAGE, ...filter }, ctx) => {
        const aggregate = type === undefined || id === undefined ? undefined : { type, id };
        const { items, next } = await events(ctx.tenant, { ...filter, aggregate, limit });
        return { items: [...items], next };
      },
    },
  });
}
