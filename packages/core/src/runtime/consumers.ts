import type { ContextDefinition } from "../kernel/context.ts";

/** Types of the events that each consumer handles. */
export function consumersOf(contexts: readonly ContextDefinition[]): ReadonlyMap<string, readonly string[]> {
  const consumers = new Map<string, string[]>();
  for (const { subscriptions } of contexts)
    for (const { consumer, event } of subscriptions)
      consumers.set(consumer, [...(consumers.get(consumer) ?? []), event.type]);
  return consumers;
}
