import type { Circuits } from "../../kernel/circuit.ts";
import type { ConnectorDefinition, Idempotency, Risk } from "./connector-definition.ts";
import type { HeldCredential } from "./held-credential.ts";
import type { Lines } from "./limits.ts";
import type { ResponseCache } from "./response-cache.ts";

/** What a request of one action may do, and by what right. */
export interface ProviderCall {
  readonly definition: ConnectorDefinition;
  readonly connectorId: string;
  /** What its requests are counted under. */
  readonly action: string;
  readonly risk: Risk;
  readonly idempotency: Idempotency;
  /** The credential; another one than the version that the provider has just refused. */
  readonly credential: (stale: number | undefined) => Promise<HeldCredential>;
  readonly cache: ResponseCache | undefined;
}

/** What calls of one process share. */
export interface ProviderTraffic {
  readonly circuits: Circuits;
  readonly lines: Lines;
}
