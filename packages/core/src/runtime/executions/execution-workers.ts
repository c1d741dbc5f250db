import type { ContextDefinition } from "../../kernel/context.ts";
import type { ExecutionEngine, ExecutionWork } from "../../kernel/execution-engine.ts";
import type { ArmatureOptions } from "../armature.ts";
import type { Calls } from "../handler-context.ts";
import type { RuntimePorts } from "../runtime-ports.ts";
import { executionHost } from "./execution-host.ts";
import { ExecutionWorker } from "./execution-worker.ts";
import { workerSettings } from "./worker-settings.ts";

/** What works in this process on the durable executions of each context that has some, by the context's name. */
export function executionWorkers(
  given: ArmatureOptions["executions"] = {},
  parts: {
    readonly ports: RuntimePorts;
    readonly pipeline: Pick<Calls, "call" | "stream">;
    readonly contexts: readonly ContextDefinition[];
  },
): ReadonlyMap<string, ExecutionWork> {
  const { ports, pipeline, contexts } = parts;
  if (given === false || ("engine" in given && given.work === false)) return new Map();
  const carried = contexts.filter(({ executions }) => executions.length > 0);
  if ("engine" in given)
    return new Map(
      carried.map((context) => [
        context.contract.name,
        given.engine.work(executionHost(context, ports, pipeline, undefined)),
      ]),
    );
  const commands = new Set(
    contexts.flatMap(({ contract: { name, operations } }) =>
      Object.entries(operations).flatMap(([key, { kind }]) => (kind === "command" ? [`${name}.${key}`] : [])),
    ),
  );
  const settings = workerSettings(given);
  return new Map(
    carried.map((context) => {
      const host = executionHost(context, ports, pipeline, (operation) => commands.has(operation));
      const worker = new ExecutionWorker(host, ports.store.executions, settings);
      worker.start();
      return [context.contract.name, worker];
    }),
  );
}

/** The engine that is not the embedded one on the application's store. */
export function engineOf(given: ArmatureOptions["executions"] = {}): ExecutionEngine | undefined {
  return given !== false && "engine" in given ? given.engine : undefined;
}
