import {
  type AnyOperation,
  type CallOptions,
  type Client,
  ConnectionUnclear,
  type Connectors,
  hasSensitive,
  type JsonObject,
  type Principal,
  type Tool,
} from "@armature/core";
import type { HttpApp } from "./http-exchange.ts";

/** A tool that is offered, with the operation that it is. */
export interface OfferedTool {
  readonly tool: Tool;
  /** `crm.find` */
  readonly id: string;
  readonly operation: AnyOperation;
}

/**
 * The tools by their names.
 *
 * @throws {TypeError} two have one name, an operation is not of this app, its output holds a secret, or it hands work
 * to an agent
 */
export function offeredTools(
  app: Pick<HttpApp, "operations">,
  tools: readonly (Tool | readonly Tool[])[],
): ReadonlyMap<string, OfferedTool> {
  const operations = new Map(app.operations.map(({ id, operation }) => [id, operation]));
  const offered = new Map<string, OfferedTool>();
  for (const tool of tools.flat() as readonly Tool[]) {
    const id = `${tool.contract.name}.${tool.operation}`;
    const operation = operations.get(id);
    if (operation === undefined) throw new TypeError(`The tool "${tool.name}" is ${id}, which this app does not have.`);
    if (tool.delegate !== undefined)
      throw new TypeError(`The tool "${tool.name}" hands work to an agent, which only a run of an agent can do.`);
    if (operation.output !== undefined && hasSensitive(operation.output))
      throw new TypeError(`The tool "${tool.name}" answers with a secret, which is not for models to read.`);
    if (offered.has(tool.name)) throw new TypeError(`There are two tools "${tool.name}".`);
    offered.set(tool.name, { tool, id, operation });
  }
  return offered;
}

/** A tool as clients are told of it. */
export function describeTool({ tool, operation }: OfferedTool) {
  const { name, description, inputSchema, outputSchema, risk } = tool;
  return {
    ...{ name, description, inputSchema },
    ...(outputSchema === undefined ? {} : { outputSchema }),
    annotations: {
      readOnlyHint: risk === "read",
      destructiveHint: risk === "irreversible",
      openWorldHint: operation.kind === "action",
    },
  };
}

/**
 * Calls a tool's operation, as any other call.
 *
 * @throws {ConnectionUnclear} its provider has no connection of the tenant's, or more than one
 */
export async function callTool(
  app: Pick<HttpApp, "call">,
  { tool, id }: OfferedTool,
  args: JsonObject,
  options: CallOptions & { readonly principal: Principal },
): Promise<unknown> {
  const input = { ...tool.toInput(args) };
  if (tool.provider !== undefined)
    Object.assign(input, { connectorId: await onlyConnection(app, tool.provider, options) });
  return tool.toResult(await app.call(id, input, options));
}

async function onlyConnection(
  app: Pick<HttpApp, "call">,
  provider: string,
  { idempotencyKey: _, ...options }: CallOptions & { readonly principal: Principal },
): Promise<string> {
  const found = app.call("connectors.list", { provider, status: "connected", limit: 2 }, options);
  const { items } = (await found) as Awaited<ReturnType<Client<Connectors>["list"]>>;
  if (items.length === 1) return items[0]!.id;
  throw new ConnectionUnclear({ provider, connections: items.length });
}
