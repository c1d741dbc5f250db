import type { CallOptions, Contract } from "../kernel/contract.ts";
import type { CallRequest } from "./call.ts";
import type { Pipeline } from "./pipeline.ts";

/** A plain object with one function per operation, which calls the pipeline as `base` says. */
export function clientOf(pipeline: Pipeline, contract: Contract, base: CallRequest): Record<string, unknown> {
  const client: Record<string, unknown> = {};
  for (const [name, operation] of Object.entries(contract.operations)) {
    if (operation.permission === "internal" && base.from !== contract.name) continue;
    const id = `${contract.name}.${name}`;
    client[name] =
      operation.kind === "stream"
        ? (input: unknown = {}, options?: CallOptions) => pipeline.stream(id, input, { ...options, ...base })
        : (input: unknown = {}, options?: CallOptions) => pipeline.call(id, input, { ...options, ...base });
  }
  return client;
}
