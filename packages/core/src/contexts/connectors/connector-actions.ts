import type { CallOptions, Client } from "../../kernel/contract.ts";
import { parse } from "../../kernel/parse.ts";
import type { AnyConnectorAction, ConnectorAction, ConnectorDefinition } from "./connector-definition.ts";
import type { Connectors } from "./contract.ts";

/** A connector's actions as typed functions. */
export type ConnectorActions<Actions extends Readonly<Record<string, AnyConnectorAction>>> = {
  readonly [K in keyof Actions]: Actions[K] extends ConnectorAction<infer In, infer Out>
    ? (input: In, options?: CallOptions) => Promise<Out>
    : never;
};

/**
 * The typed way to a connector: `connectorActions(acme.connectors, sandboxCrm, id).listContacts({ limit: 50 })`. Each
 * call is a `connectors.invoke`.
 */
export function connectorActions<Actions extends Readonly<Record<string, AnyConnectorAction>>>(
  client: Client<Connectors>,
  definition: ConnectorDefinition<Actions>,
  connectorId: string,
): ConnectorActions<Actions> {
  const actions: Record<string, unknown> = {};
  for (const [action, { output }] of Object.entries(definition.actions))
    actions[action] = async (given: Readonly<Record<string, never>>, options?: CallOptions) => {
      // What is undefined is not there: an input travels as JSON.
      const input = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
      const { result } = await client.invoke({ connectorId: connectorId as `con_${string}`, action, input }, options);
      return parse(output, result, `The result of ${definition.id}.${action}`);
    };
  return actions as ConnectorActions<Actions>;
}
