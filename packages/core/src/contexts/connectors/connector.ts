import { z } from "zod";
import { AggregateRoot, defineAggregate } from "../../kernel/aggregate.ts";
import type { Instant } from "../../kernel/clock.ts";
import type { EventOf } from "../../kernel/event.ts";
import type { Party } from "../../kernel/principal.ts";
import type { Authentication } from "./authentication.ts";
import {
  AuthorizationInvalid,
  AuthorizationReturned,
  AuthorizationStarted,
  authentication,
  ConnectorAlreadyConnected,
  ConnectorConnected,
  ConnectorDisconnected,
  ConnectorNeedsReauthorization,
  ConnectorNotConnected,
  CredentialRefreshed,
  connectorId,
  connectorStatus,
  ReauthorizationNeeded,
  type ReauthorizationReason,
  reauthorizationReason,
} from "./contract.ts";

const party = z.object({ type: z.enum(["user", "service"]), id: z.string() });

const pendingAuthorization = z.object({
  /** SHA-256 of the nonce in the state that went to the provider. */
  nonceHash: z.string(),
  redirectUri: z.string(),
  returnTo: z.string().optional(),
  expiresAt: z.iso.datetime(),
  startedBy: party.optional(),
});

const connectorState = z.object({
  id: connectorId,
  provider: z.string(),
  status: connectorStatus,
  authentication,
  /** Name of the secret that holds the credential. */
  credential: z.string().nullable(),
  scopes: z.array(z.string()),
  pending: pendingAuthorization.nullable(),
  reason: reauthorizationReason.nullable(),
  createdAt: z.iso.datetime(),
  connectedAt: z.iso.datetime().nullable(),
});

export type ConnectorState = z.infer<typeof connectorState>;
export type PendingAuthorization = z.infer<typeof pendingAuthorization>;

type ConnectorEvent = EventOf<
  | typeof AuthorizationStarted
  | typeof AuthorizationReturned
  | typeof ConnectorConnected
  | typeof ConnectorDisconnected
  | typeof CredentialRefreshed
  | typeof ReauthorizationNeeded
>;

/** A tenant's connection to one provider. It holds a reference to its credential, never the credential. */
export class Connector extends AggregateRoot<ConnectorState, ConnectorEvent> {
  declare readonly id: ConnectorState["id"];
  static readonly definition = defineAggregate("connector", {
    state: connectorState,
    events: [
      AuthorizationStarted,
      AuthorizationReturned,
      ConnectorConnected,
      ConnectorDisconnected,
      CredentialRefreshed,
      ReauthorizationNeeded,
    ],
    index: ["provider", "status"],
  });

  /** Begins an authorization; only its own, single answer can complete it. */
  startAuthorization(provider: string, pending: PendingAuthorization, at: Instant): void {
    if (this.version > 0 && this.state.status === "connected")
      throw new ConnectorAlreadyConnected({ connectorId: this.id });
    this.raise(AuthorizationStarted, { connectorId: this.id, provider, ...pending, at });
  }

  /** Takes the provider's answer, once. */
  takeAuthorization(nonceHash: string, at: Instant): PendingAuthorization {
    const { pending } = this.state;
    if (pending === null || pending.nonceHash !== nonceHash || pending.expiresAt <= at)
      throw new AuthorizationInvalid({});
    this.raise(AuthorizationReturned, { connectorId: this.id, at });
    return pending;
  }

  /** Makes an authorization that is under way void. Without effect when there is none. */
  voidAuthorization(at: Instant): void {
    if (this.state.pending !== null) this.raise(AuthorizationReturned, { connectorId: this.id, at });
  }

  /** Connects, when not connected. */
  connect(
    connection: {
      readonly provider: string;
      readonly authentication: Authentication;
      readonly credential: string;
      readonly scopes: readonly string[];
      readonly by?: Party | undefined;
    },
    at: Instant,
  ): void {
    if (this.version > 0 && this.state.status === "connected")
      throw new ConnectorAlreadyConnected({ connectorId: this.id });
    const { by, scopes, ...rest } = connection;
    this.raise(ConnectorConnected, {
      connectorId: this.id,
      ...rest,
      scopes: [...scopes],
      ...(by === undefined ? {} : { connectedBy: by }),
      at,
    });
  }

  /** Disconnects, when connected (well or not). */
  disconnect(at: Instant): void {
    const { status } = this.state;
    if (status !== "connected" && status !== "needs-reauthorization")
      throw new ConnectorNotConnected({ connectorId: this.id });
    this.raise(ConnectorDisconnected, { connectorId: this.id, provider: this.state.provider, at });
  }

  /** Notes that the credential was renewed. Without effect when this credential is no longer the connector's. */
  credentialRefreshed(credential: string, expiresAt: Instant | undefined, at: Instant): void {
    if (this.state.status !== "connected" || this.state.credential !== credential) return;
    this.raise(CredentialRefreshed, { connectorId: this.id, ...(expiresAt === undefined ? {} : { expiresAt }), at });
  }

  /** Notes that only a person can bring the connection back. Without effect when this credential is no longer the connector's. */
  needsReauthorization(credential: string, reason: ReauthorizationReason, at: Instant): void {
    if (this.state.status !== "connected" || this.state.credential !== credential) return;
    this.raise(ReauthorizationNeeded, { connectorId: this.id, provider: this.state.provider, reason, at });
  }

  /** What a caller needs to use the connection; throws when it cannot be used. */
  usable(): { readonly provider: string; readonly credential: string } {
    const { status, provider, credential, reason } = this.state;
    if (status === "needs-reauthorization")
      throw new ConnectorNeedsReauthorization({ connectorId: this.id, reason: reason ?? "refused" });
    if (status !== "connected" || credential === null) throw new ConnectorNotConnected({ connectorId: this.id });
    return { provider, credential };
  }

  protected override evolve(state: ConnectorState | undefined, event: ConnectorEvent): ConnectorState {
    switch (event.type) {
      case "connector.authorization_started": {
        const { connectorId: id, provider, at, ...pending } = event.data;
        return {
          id,
          provider,
          status: state?.status === "needs-reauthorization" ? state.status : "authorizing",
          authentication: "oauth2",
          credential: state?.credential ?? null,
          scopes: state?.scopes ?? [],
          pending,
          reason: state?.reason ?? null,
          createdAt: state?.createdAt ?? at,
          connectedAt: state?.connectedAt ?? null,
        };
      }
      case "connector.authorization_returned":
        return { ...state!, status: state!.status === "authorizing" ? "disconnected" : state!.status, pending: null };
      case "connector.connected":
        return {
          id: event.data.connectorId,
          provider: event.data.provider,
          status: "connected",
          authentication: event.data.authentication,
          credential: event.data.credential,
          scopes: event.data.scopes,
          pending: null,
          reason: null,
          createdAt: state?.createdAt ?? event.data.at,
          connectedAt: event.data.at,
        };
      case "connector.disconnected":
        return { ...state!, status: "disconnected", credential: null, pending: null, reason: null };
      case "connector.credential_refreshed":
        return state!;
      case "connector.needs_reauthorization":
        return { ...state!, status: "needs-reauthorization", reason: event.data.reason };
    }
  }
}
