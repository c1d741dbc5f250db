import type { AnyOperation, Contract } from "../../kernel/contract.ts";
import { type JsonObject, jsonSchema, type Schema } from "../../kernel/schema.ts";
import { connectors } from "../connectors/contract.ts";

/** What may happen when a tool runs: nothing changes, something does, something does that cannot be taken back. */
export type ToolRisk = "read" | "write" | "irreversible";

/** What an agent can do, as it is given to a model and run. Made by `operationTool`, `connectorTools` and `agentTool`. */
export interface Tool {
  /** As models see it: 1 to 64 letters, digits, `_` and `-`. */
  readonly name: string;
  readonly description: string;
  /** JSON Schema of the arguments: an object. */
  readonly inputSchema: JsonObject;
  /** JSON Schema of the result, where that is an object of a known shape. */
  readonly outputSchema?: JsonObject | undefined;
  readonly risk: ToolRisk;
  /** What whoever it is done for must hold; who approves it too. */
  readonly permission: string;
  /** The operation that is called with the arguments. */
  readonly contract: Contract;
  readonly operation: string;
  /** Turns the model's arguments into the operation's input. */
  readonly toInput: (args: JsonObject) => JsonObject;
  /** What the model is shown of the operation's output. */
  readonly toResult: (output: unknown) => unknown;
  /** The provider whose connection of the tenant it needs. */
  readonly provider?: string | undefined;
  /** Whether nobody notices when it runs twice. */
  readonly repeatable?: boolean | undefined;
  /** The agent that works on it, in a run of its own. */
  readonly delegate?: { readonly agent: string; readonly handoff: boolean } | undefined;
}

const NAME = /^[A-Za-z0-9_-]{1,64}$/;

/**
 * An operation as a tool. A query is a `read`, a command or action a `write`, unless `risk` says otherwise.
 *
 * @throws {TypeError} it is a stream, internal, or its name cannot be a tool's
 */
export function operationTool<C extends Contract>(
  contract: C,
  name: keyof C["operations"] & string,
  options: { readonly name?: string; readonly description?: string; readonly risk?: ToolRisk } = {},
): Tool {
  const operation: AnyOperation | undefined = contract.operations[name];
  const id = `${contract.name}.${name}`;
  if (operation === undefined || operation.kind === "stream" || operation.permission === "internal")
    throw new TypeError(`"${id}" cannot be a tool: it is no query, command or action for callers.`);
  return checked({
    name: options.name ?? `${contract.name}_${name}`,
    description: options.description ?? operation.summary,
    inputSchema: jsonSchema(operation.input, "input"),
    outputSchema: objectSchema(operation.output),
    risk: options.risk ?? (operation.kind === "query" ? "read" : "write"),
    permission: operation.permission,
    contract,
    operation: name,
    repeatable: operation.kind === "query",
    toInput: (args) => args,
    toResult: (output) => output ?? null,
  });
}

/** As much of a `ConnectorDefinition` as tools are made of. */
export interface ToolProvider {
  readonly id: string;
  readonly actions: Readonly<
    Record<string, { readonly summary: string; readonly input: Schema; readonly risk: ToolRisk }>
  >;
}

/**
 * A provider's actions as tools. They run on the tenant's connection to it: the only one, or the one that a run names.
 *
 * @param names which of its actions; all when absent
 */
export function connectorTools<P extends ToolProvider>(
  provider: P,
  names: readonly (keyof P["actions"] & string)[] = Object.keys(provider.actions),
): readonly Tool[] {
  return names.map((name) => {
    const action = provider.actions[name];
    if (action === undefined) throw new TypeError(`"${provider.id}" has no action "${name}".`);
    return checked({
      name: `${provider.id}_${name}`,
      description: action.summary,
      inputSchema: jsonSchema(action.input, "input"),
      risk: action.risk,
      permission: connectors.operations.invoke.permission,
      contract: connectors,
      operation: "invoke",
      toInput: (args) => ({ action: name, input: args }),
      toResult: (output) => (output as { readonly result: unknown }).result,
      provider: provider.id,
    });
  });
}

function objectSchema(output: Schema | undefined): JsonObject | undefined {
  const schema = output === undefined ? undefined : jsonSchema(output, "output");
  return schema?.["type"] === "object" ? schema : undefined;
}

/** @throws {TypeError} its name or arguments cannot be a tool's */
export function checked(tool: Tool): Tool {
  if (!NAME.test(tool.name))
    throw new TypeError(`"${tool.name}" cannot be a tool's name: 1 to 64 letters, digits, _ and -.`);
  if (tool.inputSchema["type"] !== "object")
    throw new TypeError(`The arguments of the tool "${tool.name}" must be an object.`);
  return Object.freeze(tool);
}

/**
 * How a call of the tool is run, as a decision has it.
 *
 * @param together whether what it comes to may be written down with what follows
 */
export function mannerOf({ delegate, repeatable }: Tool, together: boolean) {
  return {
    ...(delegate === undefined ? {} : { delegate }),
    ...(together && repeatable === true ? { repeatable } : {}),
  };
}
