import {
  AggregateRoot,
  command,
  defineAggregate,
  defineContext,
  defineContract,
  defineEvent,
  defineProjection,
  type EventOf,
  type ProjectionDefinition,
  pageOf,
  query,
} from "@armature/core";
import { z } from "zod";

const amount = z.int();

export const SaleMade = defineEvent("sale.made", {
  version: 2,
  data: z.object({ customer: z.string(), amount }),
  upcast: { 1: ({ by, ...data }) => ({ ...data, customer: by ?? null }) },
});
export const SaleRefunded = defineEvent("sale.refunded", {
  version: 1,
  data: z.object({ customer: z.string(), amount }),
});

const state = z.object({ customer: z.string(), left: amount });
type Event = EventOf<typeof SaleMade> | EventOf<typeof SaleRefunded>;

export class Sale extends AggregateRoot<z.infer<typeof state>, Event> {
  static readonly definition = defineAggregate("sale", { state, events: [SaleMade, SaleRefunded] });

  make(customer: string, paid: number): void {
    this.raise(SaleMade, { customer, amount: paid });
  }

  refund(back: number): void {
    this.raise(SaleRefunded, { customer: this.state.customer, amount: back });
  }

  protected override evolve(before: z.infer<typeof state> | undefined, { type, data }: Event) {
    return type === "sale.made"
      ? { customer: data.customer, left: data.amount }
      : { customer: data.customer, left: (before?.left ?? 0) - data.amount };
  }
}

const row = z.object({ spent: z.int(), events: z.int(), last: z.string() });
export type Turnover = z.infer<typeof row>;

/** What each customer has spent. A handler that a test wants to fail can be told so. */
export function byCustomer(
  options: {
    readonly version?: number;
    readonly before?: (event: { readonly data: { readonly amount: number } }) => void;
  } = {},
) {
  const { version = 1, before = () => undefined } = options;
  return defineProjection("by_customer", {
    version,
    row,
    index: ["spent"],
    events: (on) => [
      on(SaleMade, async (event, rows) => {
        before(event);
        const { customer, amount: paid } = event.data;
        const known = (await rows.get(customer)) ?? { spent: 0, events: 0, last: "" };
        rows.put(customer, { spent: known.spent + paid * version, events: known.events + 1, last: event.id });
      }),
      on(SaleRefunded, async (event, rows) => {
        before(event);
        const { customer, amount: back } = event.data;
        const known = (await rows.get(customer)) ?? { spent: 0, events: 0, last: "" };
        const next = { spent: known.spent - back * version, events: known.events + 1, last: event.id };
        if (next.spent === 0) rows.delete(customer);
        else rows.put(customer, next);
      }),
    ],
  });
}

export const sales = defineContract(
  "sales",
  {
    make: command({
      input: z.strictObject({ customer: z.string(), amount }),
      output: z.object({ saleId: z.string() }),
      permission: "sales:write",
      summary: "Makes a sale.",
    }),
    refund: command({
      input: z.strictObject({ saleId: z.string(), amount }),
      permission: "sales:write",
      summary: "Pays back.",
    }),
    customers: query({
      input: z.strictObject({
        atLeast: amount.optional(),
        limit: z.int().optional(),
        after: z.string().optional(),
        direction: z.enum(["asc", "desc"]).optional(),
      }),
      output: pageOf(z.object({ customer: z.string(), ...row.shape })),
      permission: "sales:read",
      summary: "Lists customers by what they have spent.",
    }),
    customer: query({
      input: z.strictObject({ customer: z.string() }),
      output: z.object({ row: row.nullable() }),
      permission: "sales:read",
      summary: "Shows one.",
    }),
  },
  { events: [SaleMade, SaleRefunded] },
);

/** The context with a projection of its own. */
export function salesContext(projection: ProjectionDefinition<Turnover, "spent"> = byCustomer()) {
  return defineContext(sales, {
    aggregates: [Sale],
    projections: [projection],
    handlers: {
      make: ({ customer, amount: paid }, ctx) => {
        const sale = ctx.add(new Sale(ctx.newId("sale")));
        sale.make(customer, paid);
        return { saleId: sale.id };
      },
      refund: async ({ saleId, amount: back }, ctx) => (await ctx.load(Sale, saleId)).refund(back),
      customers: async ({ atLeast, ...page }, ctx) => {
        const range = atLeast === undefined ? {} : { range: { field: "spent", gte: atLeast } as const };
        const { items, next } = await ctx.find(projection, { orderBy: "spent", ...range, ...page });
        return { items: items.map(({ id, row: found }) => ({ customer: id, ...found })), next };
      },
      customer: async ({ customer }, ctx) => ({ row: (await ctx.tryLoad(projection, customer)) ?? null }),
    },
  });
}
