import { type ContextDefinition, heardContracts } from "../../kernel/context.ts";
import { projectionSources } from "../../kernel/projection.ts";
import type { StoreAdapter } from "../../kernel/store-adapter.ts";
import { toState } from "../../runtime/projection-state.ts";

/** A projection that still has something to do, in words; undefined when every one has applied what was committed. */
export async function projectionBehind(
  store: StoreAdapter,
  contexts: readonly ContextDefinition[],
): Promise<string | undefined> {
  for (const context of contexts)
    for (const projection of context.projections) {
      const name = `${context.contract.name}.${projection.name}`;
      const state = toState(await store.projections.read(context.contract.name, projection.name));
      const [serving, ...others] = state.generations;
      if (serving?.status !== "serving" || others.length > 0) return `rows of the projection ${name} were being made`;
      for (const source of projectionSources(projection, heardContracts(context)).keys())
        if ((state.positions[serving.number]?.[source] ?? 0) < (await store.log.head(source)))
          return `the projection ${name} was behind`;
    }
  return undefined;
}
