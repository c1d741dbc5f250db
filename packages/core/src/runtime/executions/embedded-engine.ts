import type { ExecutionEngine, ExecutionHost, ExecutionWork } from "../../kernel/execution-engine.ts";
import type { ExecutionChange, NewExecution, Signal } from "../../kernel/executions.ts";
import type { Scope } from "../../kernel/scope.ts";
import type { StoreAdapter } from "../../kernel/store-adapter.ts";
import { ExecutionWorker } from "./execution-worker.ts";
import { type ExecutionOptions, workerSettings } from "./worker-settings.ts";

/**
 * The embedded engine on a store of its own, apart from the application's: `createArmature({ executions: { engine } })`.
 * Without an engine, executions lie in the application's store, and what a command does to them is part of its commit.
 *
 * Processes that share the store hear of each other's executions when they look, every `pollMs`.
 *
 * @param options.store closed with the application
 * @throws {InvalidInput} an option is not valid
 */
export function embeddedEngine(options: ExecutionOptions & { readonly store: StoreAdapter }): ExecutionEngine {
  const { store, ...given } = options;
  const settings = workerSettings(given);
  const working = new Map<string, Set<ExecutionWorker>>();
  const nudge = (context: string) => {
    for (const worker of working.get(context) ?? []) worker.nudge();
  };
  const change = async ({ tenant, context }: Scope, execution: ExecutionChange): Promise<void> => {
    const nothing = { aggregates: [], events: [], messages: [], audit: [] };
    await store.commit(tenant, { parts: [{ context, ...nothing, executions: [execution] }] });
    nudge(context);
  };
  const changeKnown = async (scope: Scope, id: string, execution: ExecutionChange): Promise<boolean> => {
    if ((await store.execution(scope, id)) === undefined) return false;
    await change(scope, execution);
    return true;
  };
  return {
    start: (context: string, execution: NewExecution) =>
      change({ tenant: execution.principal.tenant, context }, { step: "start", execution }),
    signal: (scope: Scope, id: string, signal: Signal) => changeKnown(scope, id, { step: "signal", id, signal }),
    retry: (scope: Scope, id: string, at: number) => changeKnown(scope, id, { step: "retry", id, at }),
    execution: (scope, id) => store.execution(scope, id),
    journal: (scope, query) => store.journal(scope, query),
    work(host: ExecutionHost): ExecutionWork {
      const worker = new ExecutionWorker(host, store.executions, settings);
      const others = working.get(host.context) ?? new Set();
      working.set(host.context, others.add(worker));
      worker.start();
      return worker;
    },
    migrate: (contexts) => store.migrate(contexts.map((name) => ({ name, aggregates: [], projections: [] }))),
    prune: (context, query) => store.executions.prune(context, query),
    ping: () => store.ping(),
    close: () => store.close(),
  };
}
