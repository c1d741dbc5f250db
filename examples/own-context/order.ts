import { AggregateRoot, defineAggregate, type EventOf, type Instant } from "@armature/core";
import type { z } from "zod";
import { inCents, OrderHeld, OrderNotOpen, OrderPlaced, OrderShipped, orderView } from "./contract.ts";

const state = orderView.omit({ orderId: true });
type State = z.infer<typeof state>;
type Event = EventOf<typeof OrderPlaced | typeof OrderHeld | typeof OrderShipped>;

export class Order extends AggregateRoot<State, Event> {
  static readonly definition = defineAggregate("order", {
    state,
    events: [OrderPlaced, OrderHeld, OrderShipped],
    index: ["status"],
    version: 2,
    migrate: ({ price, ...before }) => ({ ...before, total: inCents(price) }),
  });

  place(customer: string, total: State["total"]) {
    this.raise(OrderPlaced, { customer, total });
  }

  hold(reason: string) {
    if (this.state.status === "open") this.raise(OrderHeld, { reason });
  }

  ship(at: Instant) {
    const { status } = this.state;
    if (status !== "open") throw new OrderNotOpen({ orderId: this.id, status });
    this.raise(OrderShipped, { at });
  }

  protected override evolve(before: State | undefined, event: Event): State {
    switch (event.type) {
      case "order.placed":
        return { ...event.data, status: "open" };
      case "order.held":
        return { ...before!, status: "held" };
      case "order.shipped":
        return { ...before!, status: "shipped" };
    }
  }
}
