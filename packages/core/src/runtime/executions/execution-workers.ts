import type { ContextDefinition } from "../../kernel/context.ts";
import type { Calls } from "../handler-context.ts";
import type { RuntimePorts } from "../runtime-ports.ts";
import { ExecutionWorker } from "./execution-worker.ts";
import { type ExecutionOptions, workerSettings } from "./worker-settings.ts";

/** A worker for each context that has durable executions, by the context's name. */
export function executionWorkers(
  options: ExecutionOptions | false | undefined,
  parts: {
    readonly ports: RuntimePorts;
    readonly pipeline: Pick<Calls, "call" | "stream">;
    readonly contexts: readonly ContextDefinition[];
  },
): ReadonlyMap<string, ExecutionWorker> {
  if (options === false) return new Map();
  const { ports, pipeline, contexts } = parts;
  const commands = new Set(
    contexts.flatMap(({ contract: { name, operations } }) =>
      Object.entries(operations).flatMap(([key, { kind }]) => (kind === "command" ? [`${name}.${key}`] : [])),
    ),
  );
  const settings = workerSettings(options ?? {}, (operation) => commands.has(operation));
  return new Map(
    contexts
      .filter(({ executions }) => executions.length > 0)
      .map((context) => [context.contract.name, new ExecutionWorker(context, ports, pipeline, settings)]),
  );
}
