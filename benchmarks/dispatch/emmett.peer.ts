import { type Event, getInMemoryMessageBus } from "@event-driven-io/emmett";
import { subjectOf } from "../peers.ts";
import { dispatcher, EVENT } from "./dispatcher.ts";

type OrderChanged = Event<typeof EVENT.type, { orderId: string; quantity: number }>;

export async function contenders() {
  return [
    dispatcher(subjectOf("@event-driven-io/emmett"), (handled) => {
      const bus = getInMemoryMessageBus();
      bus.subscribe<OrderChanged>(handled, EVENT.type);
      const event: OrderChanged = { type: EVENT.type, kind: "Event", data: EVENT };
      return { dispatch: () => bus.publish<OrderChanged>(event) };
    }),
  ];
}
