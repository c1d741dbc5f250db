import { z } from "zod";
import { action, command, defineContract, query } from "../../kernel/contract.ts";
import { defineError } from "../../kernel/errors.ts";
import { defineEvent } from "../../kernel/event.ts";
import { json } from "../../kernel/json.ts";
import {
  AddressRefused,
  CircuitOpen,
  ProviderAnsweredGarbage,
  ProviderTimedOut,
  ProviderUnreachable,
} from "../../kernel/port-errors.ts";
import { sensitive } from "../../kernel/sensitive.ts";

export const connectorId = z.templateLiteral(["con_", z.string().regex(/^[0-9a-z]{1,60}$/)]);
export const connectorStatus = z.enum(["authorizing", "connected", "needs-reauthorization", "disconnected"]);
/** `refused`: the provider no longer takes the grant. `interrupted`: a crash cut a token rotation off. */
export const reauthorizationReason = z.enum(["refused", "interrupted"]);
export type ReauthorizationReason = z.infer<typeof reauthorizationReason>;

export const authentication = z.enum(["oauth2", "api-key", "basic", "client-credentials"]);

const at = z.iso.datetime();
const id = z.object({ connectorId });
const party = z.object({ type: z.enum(["user", "service"]), id: z.string() });

export const AuthorizationStarted = defineEvent("connector.authorization_started", {
  version: 1,
  data: z.object({
    connectorId,
    provider: z.string(),
    nonceHash: z.string(),
    redirectUri: z.string(),
    returnTo: z.string().optional(),
    expiresAt: at,
    startedBy: party.optional(),
    at,
  }),
});

/** The authorization is over: the provider's answer came, or can no longer be taken. */
export const AuthorizationReturned = defineEvent("connector.authorization_returned", {
  version: 1,
  data: z.object({ connectorId, at }),
});

export const ConnectorConnected = defineEvent("connector.connected", {
  version: 1,
  data: z.object({
    connectorId,
    provider: z.string(),
    authentication: authentication,
    /** Name of the secret, not the secret. */
    credential: z.string(),
    scopes: z.array(z.string()),
    connectedBy: party.optional(),
    at,
  }),
});

export const ConnectorDisconnected = defineEvent("connector.disconnected", {
  version: 1,
  data: z.object({ connectorId, provider: z.string(), at }),
});

export const CredentialRefreshed = defineEvent("connector.credential_refreshed", {
  version: 1,
  data: z.object({ connectorId, expiresAt: at.optional(), at }),
});

export const ReauthorizationNeeded = defineEvent("connector.needs_reauthorization", {
  version: 1,
  data: z.object({ connectorId, provider: z.string(), reason: reauthorizationReason, at }),
});

/** The connector is connected already; disconnect it first. */
export class ConnectorAlreadyConnected extends defineError("connector.already_connected", {
  kind: "precondition",
  details: id,
  message: ({ connectorId }) => `The connector "${connectorId}" is connected already.`,
}) {}

/** The connector is not connected. */
export class ConnectorNotConnected extends defineError("connector.not_connected", {
  kind: "precondition",
  details: id,
  message: ({ connectorId }) => `The connector "${connectorId}" is not connected.`,
}) {}

/** The connection is broken in a way that only a person can mend, by authorizing again. */
export class ConnectorNeedsReauthorization extends defineError("connector.needs_reauthorization", {
  kind: "precondition",
  details: z.object({ connectorId, reason: reauthorizationReason }),
  message: ({ connectorId, reason }) =>
    reason === "interrupted"
      ? `The connector "${connectorId}" needs to be authorized again: a token rotation was cut off before the new token was safe.`
      : `The connector "${connectorId}" needs to be authorized again: the provider no longer accepts its grant.`,
}) {}

/** The answer of an authorization is forged, expired, or was used before. */
export class AuthorizationInvalid extends defineError("connector.authorization_invalid", {
  kind: "forbidden",
  details: z.object({}),
  message: () => "This authorization is not valid: it is unknown, has expired, or was used before. Start a new one.",
}) {}

/** The provider, or the person there, refused the authorization. */
export class AuthorizationRefused extends defineError("connector.authorization_refused", {
  kind: "precondition",
  details: z.object({ provider: z.string(), error: z.string() }),
  message: ({ provider, error }) => `"${provider}" refused the authorization: ${error}.`,
}) {}

/** No provider of this name is configured by the host. */
export class ProviderUnknown extends defineError("connector.provider_unknown", {
  kind: "not-found",
  details: z.object({ provider: z.string() }),
  message: ({ provider }) => `No provider "${provider}" is configured.`,
}) {}

/** The provider does not offer this way to authenticate. */
export class AuthenticationUnsupported extends defineError("connector.authentication_unsupported", {
  kind: "invalid",
  details: z.object({ provider: z.string(), authentication: z.string() }),
  message: ({ provider, authentication }) => `"${provider}" cannot be connected with ${authentication}.`,
}) {}

/** The provider has no such action. */
export class ActionUnknown extends defineError("connector.action_unknown", {
  kind: "not-found",
  details: z.object({ provider: z.string(), action: z.string() }),
  message: ({ provider, action }) => `"${provider}" has no action "${action}".`,
}) {}

/** The provider understood the request and said no. Its words are not repeated: they may hold what was sent. */
export class ProviderRefused extends defineError("provider.refused", {
  kind: "precondition",
  details: z.object({ provider: z.string(), status: z.number(), reason: z.string().optional() }),
  message: ({ provider, status, reason }) =>
    `"${provider}" refused the request with status ${status}${reason === undefined ? "" : ` (${reason})`}.`,
}) {}

/** The provider does not accept the credential. */
export class CredentialRefused extends defineError("provider.credential_refused", {
  kind: "precondition",
  details: z.object({ provider: z.string(), connectorId: z.string() }),
  message: ({ provider, connectorId }) =>
    `"${provider}" does not accept the credential of the connector "${connectorId}".`,
}) {}

/** The provider's own limit is reached, and waiting for it would pass the deadline. */
export class ProviderLimited extends defineError("provider.limited", {
  kind: "exhausted",
  details: z.object({ provider: z.string(), retryAfterMs: z.number() }),
  message: ({ provider, retryAfterMs }) =>
    `"${provider}" takes no more requests for now; ask again in ${Math.ceil(retryAfterMs / 1000)} s.`,
}) {}

/** The provider answered with a failure of its own; with status 0, it could not be asked any more. */
export class ProviderFailed extends defineError("provider.failed", {
  kind: "unavailable",
  details: z.object({ provider: z.string(), status: z.number() }),
  message: ({ provider, status }) =>
    status === 0 ? `"${provider}" cannot be used right now.` : `"${provider}" failed with status ${status}.`,
}) {}

/** The provider sends callers elsewhere. Redirects are not followed. */
export class ProviderRedirected extends defineError("provider.redirected", {
  kind: "unavailable",
  details: z.object({ provider: z.string(), status: z.number() }),
  message: ({ provider, status }) => `"${provider}" answered with a redirect (${status}), which is not followed.`,
}) {}

const connectionErrors = [ConnectorNotConnected, ConnectorNeedsReauthorization] as const;
const providerErrors = [
  ProviderRefused,
  CredentialRefused,
  ProviderLimited,
  ProviderFailed,
  ProviderRedirected,
  ProviderUnreachable,
  ProviderTimedOut,
  ProviderAnsweredGarbage,
  AddressRefused,
  CircuitOpen,
] as const;

const connectorView = z.object({
  id: connectorId,
  version: z.int(),
  provider: z.string(),
  status: connectorStatus,
  authentication: authentication,
  scopes: z.array(z.string()),
  reason: reauthorizationReason.optional(),
  createdAt: at,
  connectedAt: at.optional(),
});
export type ConnectorView = z.infer<typeof connectorView>;

const count = z.int().min(0);
const usageView = z.object({
  /** Where the hour or day begins. */
  period: at,
  connectorId,
  /** The provider's action; `$health` for looking whether a credential works, `$token` for having tokens. */
  action: z.string(),
  /** Requests that were sent, each attempt by itself. */
  requests: count,
  /** How many of them repeated one that had failed. */
  retries: count,
  /** Answers that were given without asking the provider. */
  cached: count,
  /** How many of the requests failed, by what the provider meant. */
  failures: z.object({
    /** It said no, or sent the request elsewhere. */
    refused: count,
    /** Its limit was reached. */
    limited: count,
    /** It failed, or there was no answer that could be read. */
    outage: count,
    /** It did not take the credential. */
    credential: count,
  }),
  /** Bytes of bodies, without headers. */
  bytesSent: count,
  /** Bytes of bodies, decompressed. */
  bytesReceived: count,
  /** How long the provider took, over all requests. */
  milliseconds: count,
});
export type UsageView = z.infer<typeof usageView>;

/** A key is sent in a header: one that was pasted with a line break would never work. */
const headerText = z
  .string()
  .min(1)
  .max(4000)
  .regex(/^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$/, "must be printable ASCII, without blanks or line breaks around it");

/** What may stand in `user:password` (RFC 7617): no control characters, and no colon in the first half, which it ends. */
const basicUsername = z
  .string()
  .min(1)
  .max(1000)
  .regex(/^[^:\p{Cc}]*$/u, "must be without a colon and without control characters");
const basicPassword = z
  .string()
  .max(1000)
  .regex(/^\P{Cc}*$/u, "must be without control characters");

/** What all ways to connect without a browser have in common. */
const connecting = {
  provider: z.string().min(1).max(100),
  /** To connect an existing connector again; without it a new one is made. */
  connectorId: connectorId.optional(),
};
const connectingErrors = [
  ProviderUnknown,
  AuthenticationUnsupported,
  ConnectorAlreadyConnected,
  ...providerErrors,
] as const;

/** What an action of a provider gives: any JSON. */
export type InvokeResult = z.infer<typeof json>;
const providerView = z.object({
  id: z.string(),
  name: z.string(),
  authentication: z.array(authentication),
  actions: z.array(
    z.object({
      name: z.string(),
      summary: z.string(),
      risk: z.enum(["read", "write", "irreversible"]),
      idempotency: z.enum(["natural", "key", "none"]),
      scopes: z.array(z.string()),
      /** JSON Schema of the input. */
      input: json,
      /** JSON Schema of the result. */
      output: json,
    }),
  ),
});
export type ProviderView = z.infer<typeof providerView>;

const byId = z.strictObject({ connectorId });
/** A credential that is about to be stored, and when it is destroyed unless it is connected with by then. */
const intended = z.object({ credential: z.string(), until: at });
const page = { limit: z.int().min(1).max(200).optional(), after: z.string().max(2000).optional() };
const answer = {
  code: sensitive(z.string().max(4000)).optional(),
  iss: z.string().max(500).optional(),
  error: z.string().max(200).optional(),
};

const contract = defineContract(
  "connectors",
  {
    providers: query({
      input: z.strictObject({}),
      output: z.object({ items: z.array(providerView) }),
      permission: "connectors:read",
      http: "GET /providers",
      summary: "Lists the providers that can be connected, with their actions.",
    }),
    list: query({
      input: z.strictObject({ provider: z.string().max(100).optional(), status: connectorStatus.optional(), ...page }),
      output: z.object({ items: z.array(connectorView), next: z.string().optional() }),
      permission: "connectors:read",
      http: "GET /connectors",
      summary: "Lists the tenant's connectors, oldest first.",
    }),
    get: query({
      input: byId,
      output: connectorView,
      permission: "connectors:read",
      http: "GET /connectors/{connectorId}",
      summary: "Shows one connector.",
    }),
    usage: query({
      input: z.strictObject({
        ...page,
        connectorId: connectorId.optional(),
        /** Inclusive, to the hour; 30 days before `until` when absent, and at most 366. */
        since: at.optional(),
        /** Exclusive, to the hour; without it everything up to now. */
        until: at.optional(),
        /** Hours and days of UTC. */
        per: z.enum(["hour", "day"]).default("day"),
      }),
      output: z.object({ items: z.array(usageView), next: z.string().optional() }),
      permission: "connectors:read",
      http: "GET /connectors/usage",
      summary: "Lists how much the tenant's connectors have asked of providers, by day, connector, hour and action.",
    }),
    authorize: command({
      input: z.strictObject({
        provider: z.string().min(1).max(100),
        /** To authorize an existing connector again; without it a new one is made. */
        connectorId: connectorId.optional(),
        /** Where the provider sends the browser back to; without it the server's own callback. */
        redirectUri: z
          .url({ protocol: /^https?$/ })
          .max(2000)
          .optional(),
        /** The host's page to show afterwards; its origin must be one that the host listed. */
        returnTo: z
          .url({ protocol: /^https?$/ })
          .max(2000)
          .optional(),
      }),
      output: z.object({ connectorId, url: z.string(), expiresAt: at }),
      errors: [ProviderUnknown, AuthenticationUnsupported, ConnectorAlreadyConnected],
      permission: "connectors:write",
      http: "POST /connectors/authorize",
      summary: "Begins an OAuth authorization and gives the address to send the person's browser to.",
      target: "connectorId",
    }),
    completeAuthorization: action({
      input: z.strictObject({ state: sensitive(z.string().min(1).max(4000)), ...answer }),
      output: connectorView,
      errors: [AuthorizationInvalid, AuthorizationRefused, ConnectorAlreadyConnected, ...providerErrors],
      permission: "connectors:write",
      http: "POST /connectors/authorizations",
      summary: "Completes an authorization on a host's own callback page, as the person who began it.",
    }),
    connectWithApiKey: action({
      input: z.strictObject({ ...connecting, apiKey: sensitive(headerText) }),
      output: connectorView,
      errors: connectingErrors,
      permission: "connectors:write",
      http: "POST /connectors/api-key",
      summary: "Connects a provider with an API key that the person copied from it, once the provider has accepted it.",
      target: "connectorId",
    }),
    connectWithBasic: action({
      input: z.strictObject({
        ...connecting,
        username: sensitive(basicUsername),
        password: sensitive(basicPassword),
      }),
      output: connectorView,
      errors: connectingErrors,
      permission: "connectors:write",
      http: "POST /connectors/basic",
      summary: "Connects a provider with a user name and a password, once the provider has accepted them.",
      target: "connectorId",
    }),
    connectWithClientCredentials: action({
      input: z.strictObject({
        ...connecting,
        /** The tenant's own client; neither where the app has one. */
        clientId: z.string().min(1).max(1000).optional(),
        clientSecret: sensitive(z.string().min(1).max(4000)).optional(),
      }),
      output: connectorView,
      errors: [...connectingErrors, AuthorizationRefused],
      permission: "connectors:write",
      http: "POST /connectors/client-credentials",
      summary:
        "Connects a provider with OAuth client credentials, once the provider has given a token and accepted it.",
      target: "connectorId",
    }),
    disconnect: command({
      input: byId,
      errors: [ConnectorNotConnected],
      permission: "connectors:write",
      http: "POST /connectors/{connectorId}/disconnect",
      summary: "Disconnects a connector and destroys its credential.",
    }),
    check: action({
      input: byId,
      output: z.object({ account: z.object({ id: z.string(), name: z.string() }) }),
      errors: [...connectionErrors, ...providerErrors],
      permission: "connectors:invoke",
      http: "POST /connectors/{connectorId}/check",
      summary: "Asks the provider whether the credential works, and whose it is.",
      repeatable: true,
    }),
    invoke: action({
      input: z.strictObject({
        connectorId,
        action: z.string().min(1).max(100),
        input: z.record(z.string().max(200), json).optional(),
      }),
      output: z.object({ result: json }),
      errors: [ActionUnknown, ...connectionErrors, ...providerErrors],
      permission: "connectors:invoke",
      http: "POST /connectors/{connectorId}/actions/{action}",
      summary: "Runs one of the provider's actions with the connector's credential.",
      repeatable: "handler",
    }),

    credentialOf: query({
      input: byId,
      output: z.object({ provider: z.string(), credential: z.string() }),
      errors: connectionErrors,
      permission: "internal",
      summary: "Which secret holds the credential.",
    }),
    connectable: query({
      input: z.strictObject({ connectorId, provider: z.string() }),
      errors: [ConnectorAlreadyConnected],
      permission: "internal",
      summary: "Whether the connector can be connected again: before the provider is asked.",
    }),
    takeAuthorization: command({
      input: z.strictObject({
        connectorId,
        nonceHash: z.string(),
        /** Where its credential will be kept; absent when the answer brings none. */
        ...intended.partial().shape,
      }),
      output: z.object({
        provider: z.string(),
        redirectUri: z.string(),
        returnTo: z.string().optional(),
        intent: z.string().optional(),
      }),
      errors: [AuthorizationInvalid],
      permission: "internal",
      summary: "Takes the answer of an authorization, once.",
    }),
    intendCredential: command({
      input: z.strictObject({ connectorId, ...intended.shape }),
      output: z.object({ intent: z.string() }),
      permission: "internal",
      summary: "Has a credential that is about to be stored destroyed at a time, unless it is connected with by then.",
    }),
    finishAuthorization: action({
      input: z.strictObject({ connectorId, nonce: sensitive(z.string()), ...answer }),
      output: z.object({ connector: connectorView, returnTo: z.string().optional() }),
      errors: [AuthorizationInvalid, AuthorizationRefused, ConnectorAlreadyConnected, ...providerErrors],
      permission: "internal",
      summary: "Exchanges the code and connects.",
    }),
    recordConnected: command({
      input: z.strictObject({
        connectorId,
        provider: z.string(),
        authentication: authentication,
        credential: z.string(),
        /** What would destroy the credential. */
        intent: z.string(),
        scopes: z.array(z.string()),
        /** Whether the connector is made with it. */
        isNew: z.boolean(),
      }),
      output: connectorView,
      errors: [ConnectorAlreadyConnected],
      permission: "internal",
      summary: "Notes that a credential is stored and the connector is connected.",
    }),
    recordRefreshed: command({
      input: z.strictObject({ connectorId, credential: z.string(), expiresAt: at.optional() }),
      permission: "internal",
      summary: "Notes that the credential was renewed.",
    }),
    recordBroken: command({
      input: z.strictObject({ connectorId, credential: z.string(), reason: reauthorizationReason }),
      permission: "internal",
      summary: "Notes that a person must authorize again.",
    }),
    forgetCredential: action({
      input: z.strictObject({ connectorId, credential: z.string() }),
      permission: "internal",
      summary: "Destroys a credential that no connector refers to any more.",
      repeatable: true,
    }),
  },
  {
    events: [
      AuthorizationStarted,
      AuthorizationReturned,
      ConnectorConnected,
      ConnectorDisconnected,
      CredentialRefreshed,
      ReauthorizationNeeded,
    ],
  },
);

export interface Connectors extends Readonly<typeof contract> {}
/** Tenants' connections to outside systems, and what can be done through them. */
export const connectors: Connectors = contract;
