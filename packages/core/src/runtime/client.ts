import type { CallOptions, Contract } from "../kernel/contract.ts";
import { type CallRequest, callOptions } from "./call.ts";
import type { Calls } from "./handler-context.ts";

/** A plain object with one function per operation, which calls as `base` says. */
export function clientOf(
  calls: Pick<Calls, "call" | "stream">,
  contract: Contract,
  base: CallRequest,
): Record<string, unknown> {
  const client: Record<string, unknown> = {};
  for (const [name, operation] of Object.entries(contract.operations)) {
    if (operation.permission === "internal" && base.from !== contract.name) continue;
    const id = `${contract.name}.${name}`;
    const request = (options: CallOptions | undefined) =>
      options === undefined ? base : { ...callOptions(options), ...base };
    client[name] =
      operation.kind === "stream"
        ? (input: unknown = {}, options?: CallOptions) => calls.stream(id, input, request(options))
        : (input: unknown = {}, options?: CallOptions) => calls.call(id, input, request(options));
  }
  return client;
}
