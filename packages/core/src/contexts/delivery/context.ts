import { toInstant } from "../../kernel/clock.ts";
import { defineContext } from "../../kernel/context.ts";
import { NotFound } from "../../kernel/errors.ts";
import { sequenceOf } from "../../kernel/outbox.ts";
import type { Page } from "../../kernel/store.ts";
import type { ScheduledQuery, Timer } from "../../kernel/timers.ts";
import { delivery } from "./contract.ts";
import { type DeadLetterSources, letterOf, letterView, listLetters, pageToRedeliver } from "./dead-letters.ts";

/** What the delivery context looks into and changes: it keeps nothing itself. */
export interface DeliverySources extends DeadLetterSources {
  readonly scheduled: (tenant: string, query: ScheduledQuery) => Promise<Page<Timer>>;
  /** Removes a timer with the commit of the command that `ctx` belongs to, or loses the race for it. */
  readonly cancel: (ctx: object, timer: { readonly context: string; readonly key: string }) => void;
}

const DEFAULT_PAGE = 50;
const DEFAULT_REDELIVERY = 500;

/** Shows a tenant's operators what waits to be done, and lets them call it off. */
export function deliveryContext(sources: DeliverySources) {
  const { contexts, scheduled, cancel, decide } = sources;
  const known = (context: string | undefined) =>
    context === undefined ? contexts : contexts.filter((name) => name === context);
  return defineContext(delivery, {
    handlers: {
      listDeadLetters: async ({ limit = DEFAULT_PAGE, ...query }, ctx) =>
        listLetters(sources, ctx.tenant, { ...query, limit }),
      getDeadLetter: async (ref, ctx) => {
        const letter = await letterOf(sources, ctx.tenant, ref);
        const { message } = letter;
        return { ...letterView(letter), data: message.kind === "event" ? message.event.data : message.command.input };
      },
      retryDeadLetter: async (ref, ctx) => {
        const { context, consumer, message } = await letterOf(sources, ctx.tenant, ref);
        decide(ctx, context, { step: "retry", consumer, sequence: sequenceOf(message) });
      },
      skipDeadLetter: async ({ context, consumer, messageId }, ctx) => {
        await letterOf(sources, ctx.tenant, { context, consumer, messageId });
        decide(ctx, context, { step: "skip", consumer, messageId });
      },
      redeliver: async ({ limit = DEFAULT_REDELIVERY, ...query }, ctx) => {
        const { ids, next } = await pageToRedeliver(sources, ctx.tenant, { ...query, limit });
        if (ids.length > 0) decide(ctx, query.context, { step: "redeliver", consumer: query.consumer, events: ids });
        return { events: ids.length, next };
      },
      listScheduled: async ({ context, limit = DEFAULT_PAGE, after }, ctx) => {
        const { items, next } = await scheduled(ctx.tenant, { contexts: known(context), limit, after });
        return { items: items.map(view), next };
      },
      cancelScheduled: async ({ context, key }, ctx) => {
        const { items } = await scheduled(ctx.tenant, { contexts: known(context), key, limit: 1 });
        if (items.length === 0) throw new NotFound({ type: "scheduled command", id: key });
        cancel(ctx, { context, key });
      },
    },
  });
}

function view({ key, dueAt, recurrence, command }: Timer) {
  const { context, operation, actor, onBehalfOf, time } = command;
  return { context, key, operation, dueAt: toInstant(dueAt), recurrence, actor, onBehalfOf, scheduledAt: time };
}
