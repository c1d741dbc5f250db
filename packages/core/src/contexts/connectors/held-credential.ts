import type { ActionContext } from "../../kernel/context.ts";
import type { OwnClient } from "../../kernel/contract.ts";
import { ConnectorNotConnected, type Connectors } from "./contract.ts";
import { type ClientToken, type Credential, type OAuthToken, openCredential } from "./credential.ts";

/** What a renewal works with. */
export type Renewing = Pick<
  ActionContext<Connectors, never>,
  | "secrets"
  | "lease"
  | "clock"
  | "count"
  | "http"
  | "tenant"
  | "signal"
  | "log"
  | "principal"
  | "traceparent"
  | "correlationId"
> & { readonly own: OwnClient<Connectors> };
/** The call that wants a credential. */
export type CredentialCaller = Omit<Renewing, "own">;

/** Which credential of which connector. */
export interface CredentialRef {
  readonly connectorId: string;
  /** Name of the secret. */
  readonly credential: string;
}

/** A usable credential, and the version of the secret that it came from. */
export interface HeldCredential {
  readonly version: number;
  readonly credential: Credential;
}

/** The stored credential as it is, good or not. */
export async function readCredential(ctx: CredentialCaller, ref: CredentialRef): Promise<HeldCredential> {
  const stored = await ctx.secrets.get(ctx.tenant, ref.credential);
  if (stored === undefined) throw new ConnectorNotConnected({ connectorId: ref.connectorId as `con_${string}` });
  return { version: stored.version, credential: openCredential(ref.credential, stored.value) };
}

/** Whether another one can be had without a person. */
export function isRenewable(credential: Credential): credential is OAuthToken | ClientToken {
  return credential.type === "oauth2" || credential.type === "client-credentials";
}
