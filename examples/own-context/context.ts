import { defineContext, identity, TenantSuspended } from "@armature/core";
import { orders } from "./contract.ts";
import { Order } from "./order.ts";

const view = (order: Order) => ({ orderId: order.id, ...order.state });

export const ordersContext = defineContext(orders, {
  dependsOn: [identity],
  aggregates: [Order],
  handlers: {
    place: ({ customer, total }, ctx) => {
      const order = ctx.add(new Order(ctx.newId("ord")));
      order.place(customer, total);
      return { orderId: order.id };
    },
    ship: async ({ orderId }, ctx) => (await ctx.load(Order, orderId)).ship(ctx.now),
    list: async ({ status, ...page }, ctx) => {
      const { items, ...rest } = await ctx.find(Order, { where: { status }, ...page });
      return { items: items.map(view), ...rest };
    },
    watch: async function* ({ orderId }, ctx) {
      for (let seen = ctx.after; !ctx.signal.aborted; await ctx.clock.sleep(200, ctx.signal)) {
        const order = await ctx.load(Order, orderId);
        if (String(order.version) === seen) continue;
        seen = String(order.version);
        yield { cursor: seen, item: view(order) };
      }
    },
  },
  subscriptions: (on) => [
    on(TenantSuspended, { consumer: "orders.hold-open-orders" }, async (_event, ctx) => {
      for await (const order of ctx.findAll(Order, { where: { status: "open" } }))
        order.hold("the tenant is suspended");
    }),
  ],
});
