import type { ContextDefinition, Dependency } from "../kernel/context.ts";

const nameOf = (dependency: Dependency) => ("atomic" in dependency ? dependency.atomic : dependency).name;

/** Finds at the start what would otherwise go wrong in a call. Throws `TypeError` with a sentence that names it. */
export function checkContexts(contexts: readonly ContextDefinition[]): void {
  unique(
    contexts.map(({ contract }) => contract.name),
    "context",
    "name",
  );
  if (contexts.some(({ contract }) => contract.name === "within"))
    throw new TypeError('A context cannot be named "within": that is how `app.as` joins a transaction.');
  unique(
    contexts.flatMap(({ subscriptions }) => subscriptions.map(({ consumer }) => consumer)),
    "subscription",
    "consumer",
  );
  unique(
    contexts.flatMap(({ contract }) => contract.events.map(({ type }) => type)),
    "event",
    "type",
  );
  unique(
    contexts.flatMap(({ contract }) =>
      Object.values(contract.operations).flatMap(({ http }) =>
        http === undefined ? [] : [http.replace(/\{\w+\}/g, "{}")],
      ),
    ),
    "operation",
    "HTTP route",
  );
  for (const context of contexts) {
    unique(
      context.aggregates.map(({ definition }) => definition.type),
      `aggregate of "${context.contract.name}"`,
      "type",
    );
    checkEvents(context);
    for (const dependency of context.dependsOn)
      if (!contexts.some(({ contract }) => contract.name === nameOf(dependency)))
        throw new TypeError(
          `The context "${context.contract.name}" depends on "${nameOf(dependency)}", which is not in this app.`,
        );
  }
  for (const context of contexts) checkAcyclic(context, contexts, []);
}

// What an aggregate raises must be published by its contract: nobody could subscribe to it otherwise.
function checkEvents({ contract, aggregates }: ContextDefinition): void {
  for (const { definition } of aggregates)
    for (const event of definition.events)
      if (!contract.events.includes(event))
        throw new TypeError(
          `The event "${event.type}" of ${definition.type} is not in the contract "${contract.name}".`,
        );
}

function checkAcyclic(
  context: ContextDefinition,
  contexts: readonly ContextDefinition[],
  path: readonly string[],
): void {
  const { name } = context.contract;
  if (path.includes(name))
    throw new TypeError(
      `These contexts depend on each other: ${[...path, name].join(" → ")}. The reverse direction is an event.`,
    );
  for (const dependency of context.dependsOn) {
    const next = contexts.find(({ contract }) => contract.name === nameOf(dependency));
    if (next !== undefined) checkAcyclic(next, contexts, [...path, name]);
  }
}

function unique(values: readonly string[], what: string, field: string): void {
  const twice = values.find((value, index) => values.indexOf(value) !== index);
  if (twice !== undefined) throw new TypeError(`Two of a kind: more than one ${what} has the ${field} "${twice}".`);
}
