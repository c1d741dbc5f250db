import { jsonSchema } from "../../kernel/schema.ts";
import { authenticationsOf } from "./authentication.ts";
import type { Connector } from "./connector.ts";
import type { ConnectorDefinition } from "./connector-definition.ts";
import type { ConnectorView, ProviderView } from "./contract.ts";

/** A connector as its tenant sees it. */
export function toView({ version, state }: Connector): ConnectorView {
  const { id, provider, status, authentication, scopes, createdAt } = state;
  return {
    id,
    version,
    provider,
    status,
    authentication,
    scopes,
    createdAt,
    ...(state.reason === null ? {} : { reason: state.reason }),
    ...(state.connectedAt === null ? {} : { connectedAt: state.connectedAt }),
  };
}

/** A provider as those see it who may connect it. */
export function toProviderView(definition: ConnectorDefinition): ProviderView {
  return {
    id: definition.id,
    name: definition.name,
    authentication: authenticationsOf(definition.auth),
    actions: Object.entries(definition.actions).map(([name, action]) => ({
      name,
      summary: action.summary,
      risk: action.risk,
      idempotency: action.idempotency,
      scopes: [...action.scopes],
      input: jsonSchema(action.input, "input") as ProviderView["actions"][number]["input"],
      output: jsonSchema(action.output, "output") as ProviderView["actions"][number]["output"],
    })),
  };
}
