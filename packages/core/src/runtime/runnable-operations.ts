import type { ContextDefinition } from "../kernel/context.ts";
import type { AnyOperation } from "../kernel/contract.ts";
import { jsonSchema } from "../kernel/schema.ts";
import { hasSensitive, redactor } from "../kernel/sensitive.ts";
import type { RunnableOperation } from "./call.ts";

/** The operations of a context, with what the pipeline needs to run them. */
export function runnableOperations(context: ContextDefinition): readonly RunnableOperation[] {
  return Object.entries(context.contract.operations).map(([name, operation]) => ({
    id: `${context.contract.name}.${name}`,
    name,
    context,
    operation,
    handle: context.handlers[name]!,
    ...traitsOf(operation),
  }));
}

/** What follows from a contract, found once for all pipelines. */
const traits = new WeakMap<AnyOperation, ReturnType<typeof findTraits>>();

function traitsOf(operation: AnyOperation): ReturnType<typeof findTraits> {
  let known = traits.get(operation);
  if (known === undefined) {
    known = findTraits(operation);
    traits.set(operation, known);
  }
  return known;
}

function findTraits(operation: AnyOperation) {
  return {
    redactInput: redactor(operation.input),
    sharedDefaults: /"default":[[{]/.test(JSON.stringify(jsonSchema(operation.input, "output"))),
    sensitiveOutput: operation.output !== undefined && hasSensitive(operation.output),
  };
}
