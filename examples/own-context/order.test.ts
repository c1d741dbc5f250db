import { given } from "@armature/core/testing";
import { describe, it } from "vitest";
import { OrderHeld, OrderNotOpen, OrderPlaced, OrderShipped } from "./contract.ts";
import { Order } from "./order.ts";

const placed = [OrderPlaced, { customer: "Ann", total: { amount: 1999, currency: "USD" } }] as const;
const at = "2026-01-02T03:04:05.000Z";

describe("an order", () => {
  it("is placed for an amount of money", () => {
    given(Order)
      .when((order) => order.place("Ann", { amount: 1999, currency: "USD" }))
      .then([placed]);
  });

  it("is shipped once", () => {
    given(Order, "ord_1", [placed])
      .when((order) => order.ship(at))
      .then([[OrderShipped, { at }]]);
    given(Order, "ord_1", [placed, [OrderShipped, { at }]])
      .when((order) => order.ship(at))
      .thenThrows(OrderNotOpen, { orderId: "ord_1", status: "shipped" });
  });

  it("is not shipped while it is held", () => {
    given(Order, "ord_1", [placed, [OrderHeld, { reason: "the tenant is suspended" }]])
      .when((order) => order.ship(at))
      .thenThrows(OrderNotOpen, { orderId: "ord_1", status: "held" });
  });

  it("stays as it is when it is shipped and then to be held", () => {
    given(Order, "ord_1", [placed, [OrderShipped, { at }]])
      .when((order) => order.hold("too late"))
      .then([]);
  });
});
