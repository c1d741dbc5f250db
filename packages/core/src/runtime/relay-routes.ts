import type { ContextDefinition, Subscription } from "../kernel/context.ts";

/** A consumer, and the context whose it is. */
export interface Route {
  readonly subscription: Subscription;
  readonly context: ContextDefinition;
}

/** Who consumes events, by their types. */
export function routesOf(contexts: readonly ContextDefinition[]): ReadonlyMap<string, readonly Route[]> {
  const routes = new Map<string, Route[]>();
  for (const context of contexts)
    for (const subscription of context.subscriptions) {
      const { type } = subscription.event;
      routes.set(type, [...(routes.get(type) ?? []), { subscription, context }]);
    }
  return routes;
}
