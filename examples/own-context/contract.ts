import { command, defineContract, defineError, defineEvent, pageOf, paging, query, stream } from "@armature/core";
import { z } from "zod";

const orderId = z.string().regex(/^ord_[0-9a-z]{1,60}$/);
const order = z.strictObject({ orderId });

export const money = z.strictObject({ amount: z.int().min(0), currency: z.string().regex(/^[A-Z]{3}$/) });
export const orderStatus = z.enum(["open", "held", "shipped"]);
export const orderView = z.object({ orderId, customer: z.string(), total: money, status: orderStatus });

/** Version 1 had a `price` in dollars, before there were other currencies. */
export const OrderPlaced = defineEvent("order.placed", {
  version: 2,
  data: z.object({ customer: z.string(), total: money }),
  upcast: { 1: ({ price, ...data }) => ({ ...data, total: inCents(price) }) },
});
export const OrderHeld = defineEvent("order.held", { version: 1, data: z.object({ reason: z.string() }) });
export const OrderShipped = defineEvent("order.shipped", { version: 1, data: z.object({ at: z.iso.datetime() }) });

export class OrderNotOpen extends defineError("order.not_open", {
  kind: "precondition",
  details: z.object({ orderId: z.string(), status: orderStatus }),
  message: ({ orderId, status }) => `The order "${orderId}" is ${status}, and only an open one can be shipped.`,
}) {}

export const orders = defineContract(
  "orders",
  {
    place: command({
      input: z.strictObject({ customer: z.string().min(1).max(200), total: money }),
      output: order,
      permission: "orders:write",
      http: "POST /orders",
      summary: "Places an order.",
    }),
    ship: command({
      input: order,
      errors: [OrderNotOpen],
      permission: "orders:write",
      http: "POST /orders/{orderId}/ship",
      summary: "Ships an open order.",
    }),
    list: query({
      input: z.strictObject({ ...paging, status: orderStatus.optional() }),
      output: pageOf(orderView),
      permission: "orders:read",
      http: "GET /orders",
      summary: "Lists orders, oldest first.",
    }),
    watch: stream({
      input: order,
      output: orderView,
      permission: "orders:read",
      http: "GET /orders/{orderId}/watch",
      summary: "Shows an order now and after each change.",
    }),
  },
  { events: [OrderPlaced, OrderHeld, OrderShipped] },
);

export function inCents(dollars: unknown): z.infer<typeof money> {
  return { amount: Math.round(Number(dollars) * 100), currency: "USD" };
}
