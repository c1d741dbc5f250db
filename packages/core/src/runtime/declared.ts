import type { Atomic, Dependency } from "../kernel/context.ts";
import type { Contract } from "../kernel/contract.ts";
import type { RunnableOperation } from "./call.ts";

export const isAtomic = (dependency: Dependency): dependency is Atomic => "atomic" in dependency;

/**
 * The dependency that makes a contract usable for a handler; undefined for its own.
 *
 * @throws {TypeError} its context has not declared it
 */
export function declared(
  target: Pick<RunnableOperation, "id" | "context">,
  contract: Contract,
): Dependency | undefined {
  if (contract.name === target.context.contract.name) return undefined;
  const found = target.context.dependsOn.find((each) => (isAtomic(each) ? each.atomic : each).name === contract.name);
  if (found === undefined)
    throw new TypeError(`${target.id} uses "${contract.name}", which is not in dependsOn of its context.`);
  return found;
}
