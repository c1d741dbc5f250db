import { createHash } from "node:crypto";
import { Circuits } from "../../kernel/circuit.ts";
import { toInstant } from "../../kernel/clock.ts";
import { type ActionContext, defineContext } from "../../kernel/context.ts";
import type { Client } from "../../kernel/contract.ts";
import { CorruptData, DeadlineExceeded, Forbidden, NotFound, UnknownOutcome } from "../../kernel/errors.ts";
import { parse } from "../../kernel/parse.ts";
import type { Cache } from "../../kernel/ports.ts";
import { asParty, type Party, type Principal } from "../../kernel/principal.ts";
import { tryParse } from "../../kernel/schema.ts";
import { type Identity, identity, TenantSuspended } from "../identity/contract.ts";
import { type Authentication, authenticationsOf, type OAuth2Auth } from "./authentication.ts";
import { type AddressOptions, authorizationAddresses } from "./authorization-addresses.ts";
import { firstClientToken } from "./client-credentials.ts";
import { Connector } from "./connector.ts";
import type { ConnectorActionContext, ConnectorDefinition } from "./connector-definition.ts";
import {
  ActionUnknown,
  AuthenticationUnsupported,
  AuthorizationInvalid,
  AuthorizationRefused,
  ConnectorAlreadyConnected,
  ConnectorConnected,
  type Connectors,
  type ConnectorView,
  connectors,
  type InvokeResult,
  ProviderUnknown,
} from "./contract.ts";
import { type Credential, credentialName, sealCredential } from "./credential.ts";
import { isRenewable } from "./held-credential.ts";
import { Lines } from "./limits.ts";
import { authorizationUrl, exchangeCode } from "./oauth.ts";
import type { AuthorizationSigner, Background, DetachedCalls } from "./ports.ts";
import type { ProviderCall } from "./provider-call.ts";
import { providerClient } from "./provider-client.ts";
import { cacheGroup, ResponseCache } from "./response-cache.ts";
import { TokenKeeper } from "./token-keeper.ts";
import { countedTokens, HEALTH, TOKEN } from "./usage.ts";
import { usagePage } from "./usage-report.ts";
import { toProviderView, toView } from "./views.ts";

type Ctx = ActionContext<Connectors, typeof identity>;
type ConnectorId = ConnectorView["id"];

/** What the host decides about connectors. */
export interface ConnectorsOptions extends AddressOptions {
  readonly providers: readonly ConnectorDefinition[];
  readonly signer: AuthorizationSigner;
  readonly detached: DetachedCalls;
  readonly background: Background;
  /** Where providers' answers are kept. */
  readonly cache: Cache;
}

/** An authorization that nobody completed is void after this time. */
const AUTHORIZATION_MS = 10 * 60_000;
/**
 * How long after the deadline of its call a credential is destroyed that was stored and never connected with. What was
 * begun before the deadline, writing the secret and noting the connection, has long ended by then, on whose clock ever.
 */
const UNCONNECTED_MS = 10 * 60_000;
/** What a health check may do. */
const READING = { action: HEALTH, risk: "read", idempotency: "natural" } as const;

/** Tenants' connections to providers, and the actions that run through them. */
export function connectorsContext(options: ConnectorsOptions) {
  const addressesOf = authorizationAddresses(options);
  const traffic = { circuits: new Circuits(), lines: new Lines() };
  const tokens = new TokenKeeper(options.detached, options.background);
  const providers = new Map(options.providers.map((definition) => [definition.id, definition]));
  if (providers.size !== options.providers.length) throw new TypeError("Two connectors have the same id.");
  const views = options.providers.map(toProviderView);

  const definitionOf = (provider: string): ConnectorDefinition => {
    const definition = providers.get(provider);
    if (definition === undefined) throw new ProviderUnknown({ provider });
    return definition;
  };
  const offering = (provider: string, authentication: Authentication): ConnectorDefinition => {
    const definition = definitionOf(provider);
    if (!authenticationsOf(definition.auth).includes(authentication))
      throw new AuthenticationUnsupported({ provider, authentication });
    return definition;
  };
  const oauthOf = (definition: ConnectorDefinition): OAuth2Auth => {
    if (definition.auth.oauth2 === undefined)
      throw new AuthenticationUnsupported({ provider: definition.id, authentication: "oauth2" });
    return definition.auth.oauth2;
  };

  /** The provider with the connector's credential, for one action. */
  const reach = (
    ctx: Ctx,
    connectorId: ConnectorId,
    { provider, credential }: { readonly provider: string; readonly credential: string },
    { action, risk, idempotency }: Pick<ProviderCall, "action" | "risk" | "idempotency">,
    cached = true,
  ): ConnectorActionContext => {
    const definition = definitionOf(provider);
    const cache =
      cached && definition.http.cache
        ? new ResponseCache(options.cache, cacheGroup(ctx.tenant, credential), ctx.log)
        : undefined;
    const held = (stale: number | undefined) => tokens.get(ctx, definition, { connectorId, credential }, stale);
    const call = { definition, connectorId, action, risk, idempotency, credential: held, cache };
    const http = providerClient(ctx, traffic, call);
    return { http, idempotencyKey: ctx.callId, signal: ctx.signal };
  };

  /** Connects with a credential that the provider has accepted before anything is stored. */
  const connect = async (
    ctx: Ctx,
    definition: ConnectorDefinition,
    given: ConnectorId | undefined,
    toCredential: (connectorId: ConnectorId) => Credential | Promise<Credential>,
  ): Promise<ConnectorView> => {
    if (given !== undefined) await ctx.use(connectors).connectable({ connectorId: given, provider: definition.id });
    // Nothing is made under an id that a caller has thought up.
    const connectorId = given ?? (ctx.newId("con") as ConnectorId);
    const credential = await toCredential(connectorId);
    const tried = { definition, connectorId, ...READING, cache: undefined };
    const http = providerClient(ctx, traffic, { ...tried, credential: async () => ({ version: 0, credential }) });
    await definition.health({ http, idempotencyKey: ctx.callId, signal: ctx.signal });
    const intended = newCredential(ctx, connectorId);
    const { intent } = await ctx.use(connectors).intendCredential({ connectorId, ...intended });
    const connection = { connectorId, provider: definition.id, credential: intended.credential, intent };
    return store(ctx, connection, credential, given === undefined);
  };

  const store = async (
    ctx: Ctx,
    connection: {
      readonly connectorId: ConnectorId;
      readonly provider: string;
      readonly credential: string;
      readonly intent: string;
    },
    value: Credential,
    isNew: boolean,
  ): Promise<ConnectorView> => {
    const { credential } = connection;
    // What is written later than this nobody might destroy.
    if (ctx.clock.now() >= ctx.deadline) throw new DeadlineExceeded({ operation: "connectors.connect" });
    ctx.signal.throwIfAborted();
    await ctx.secrets.put(ctx.tenant, credential, sealCredential(value), 0);
    try {
      return await ctx.use(connectors).recordConnected({
        ...connection,
        authentication: value.type,
        scopes: isRenewable(value) ? value.scopes : [],
        isNew,
      });
    } catch (error) {
      // After any other error the connection may have been noted, and then it needs the credential.
      if (error instanceof ConnectorAlreadyConnected || error instanceof NotFound)
        await ctx.secrets.delete(ctx.tenant, credential);
      throw error;
    }
  };

  return defineContext(connectors, {
    dependsOn: [identity],
    aggregates: [Connector],
    handlers: {
      providers: () => ({ items: views }),

      list: async ({ provider, status, limit, after }, ctx) => {
        const page = await ctx.find(Connector, { where: { provider, status }, limit, after });
        return { ...page, items: page.items.map(toView) };
      },

      get: async ({ connectorId }, ctx) => toView(await ctx.load(Connector, connectorId)),

      usage: ({ since, until, limit = 50, ...asked }, ctx) =>
        usagePage((query) => ctx.counters(query), {
          ...asked,
          since: since === undefined ? undefined : Date.parse(since),
          // The hour that has just begun is there too.
          until: until === undefined ? Date.parse(ctx.now) + 1 : Date.parse(until),
          limit,
        }),

      authorize: async (input, ctx) => {
        const definition = definitionOf(input.provider);
        const auth = oauthOf(definition);
        const { redirectUri, returnTo } = addressesOf(input);
        const connector =
          input.connectorId === undefined
            ? ctx.add(new Connector(ctx.newId("con")))
            : await ofProvider(ctx.load(Connector, input.connectorId), definition);
        const connectorId = connector.id;
        const nonce = Buffer.from(ctx.random(16)).toString("base64url");
        const startedBy = partyOf(ctx.principal);
        const expires = Date.parse(ctx.now) + AUTHORIZATION_MS;
        const expiresAt = toInstant(expires);
        connector.startAuthorization(
          definition.id,
          { nonceHash: hash(nonce), redirectUri, returnTo, expiresAt, startedBy },
          ctx.now,
        );
        const state = await options.signer.sign(
          { tenant: ctx.tenant, connectorId, nonce, startedBy: startedBy ?? null },
          expires,
        );
        const url = await authorizationUrl(auth, {
          redirectUri,
          state,
          codeVerifier: options.signer.codeVerifier(nonce),
        });
        return { connectorId, url, expiresAt };
      },

      completeAuthorization: async ({ state, ...answer }, ctx) => {
        const claims = await options.signer.verify(state);
        const caller = partyOf(ctx.principal);
        // Only who began it may complete it: otherwise somebody else's account could be slipped in.
        if (
          claims?.tenant !== ctx.tenant ||
          claims.startedBy === null ||
          claims.startedBy.id !== caller?.id ||
          claims.startedBy.type !== caller.type
        )
          throw new AuthorizationInvalid({});
        const finished = await ctx
          .use(connectors)
          .finishAuthorization({ connectorId: claims.connectorId as ConnectorId, nonce: claims.nonce, ...answer });
        return finished.connector;
      },

      finishAuthorization: async ({ connectorId, nonce, code, iss, error }, ctx) => {
        const granted = error === undefined && code !== undefined;
        const intended = newCredential(ctx, connectorId);
        const { provider, redirectUri, returnTo, intent } = await ctx
          .use(connectors)
          .takeAuthorization({ connectorId, nonceHash: hash(nonce), ...(granted ? intended : {}) });
        const definition = definitionOf(provider);
        if (!granted || intent === undefined)
          throw new AuthorizationRefused({
            provider,
            error: /^[a-z_]{1,60}$/.test(error ?? "") ? error! : "no code was given",
          });
        const codeVerifier = options.signer.codeVerifier(nonce);
        const token = await exchangeCode(
          definition,
          oauthOf(definition),
          { send: countedTokens({ ctx, connectorId, action: TOKEN }, ctx.http) },
          { code, iss, redirectUri, codeVerifier },
          ctx.signal,
          () => ctx.clock.now(),
        );
        const connection = { connectorId, provider, credential: intended.credential, intent };
        const connector = await store(ctx, connection, token, false);
        return returnTo === undefined ? { connector } : { connector, returnTo };
      },

      connectWithApiKey: async ({ provider, connectorId, apiKey: key }, ctx) => {
        const definition = offering(provider, "api-key");
        return connect(ctx, definition, connectorId, () => ({ type: "api-key", key }));
      },

      connectWithBasic: async ({ provider, connectorId, username, password }, ctx) => {
        const definition = offering(provider, "basic");
        return connect(ctx, definition, connectorId, () => ({ type: "basic", username, password }));
      },

      connectWithClientCredentials: async ({ provider, connectorId, clientId, clientSecret }, ctx) => {
        const definition = offering(provider, "client-credentials");
        const given = { clientId, clientSecret };
        return connect(ctx, definition, connectorId, (id) => firstClientToken(ctx, definition, id, given));
      },

      disconnect: async ({ connectorId }, ctx) => {
        const connector = await ctx.load(Connector, connectorId);
        disconnect(connector, ctx);
      },

      check: async ({ connectorId }, ctx) => {
        const held = await ctx.use(connectors).credentialOf({ connectorId });
        // An answer that was kept proves nothing of the credential.
        const http = reach(ctx, connectorId, held, READING, false);
        return { account: await definitionOf(held.provider).health(http) };
      },

      invoke: async ({ connectorId, action: name, input = {} }, ctx) => {
        const held = await ctx.use(connectors).credentialOf({ connectorId });
        const { provider } = held;
        const action = Object.hasOwn(definitionOf(provider).actions, name)
          ? definitionOf(provider).actions[name]
          : undefined;
        if (action === undefined) throw new ActionUnknown({ provider, action: name });
        const id = `${provider}.${name}`;
        // A cut-off attempt may have reached a provider that would do it again.
        if (ctx.attempt > 1 && action.idempotency === "none") throw new UnknownOutcome({ operation: id });
        const args = parse(action.input, input, `The input of ${id}`);
        const returned = await action.run(args, reach(ctx, connectorId, held, { ...action, action: name }));
        const result = tryParse(action.output, returned);
        if (!result.ok) throw new CorruptData({ subject: `The output of ${id}`, issues: [...result.issues] });
        return { result: (result.value ?? null) as InvokeResult };
      },

      credentialOf: async ({ connectorId }, ctx) => (await ctx.load(Connector, connectorId)).usable(),

      connectable: async ({ connectorId, provider }, ctx) => {
        const connector = await ofProvider(ctx.load(Connector, connectorId), definitionOf(provider));
        if (connector.state.status === "connected") throw new ConnectorAlreadyConnected({ connectorId });
      },

      takeAuthorization: async ({ connectorId, nonceHash, credential, until }, ctx) => {
        const connector = await ctx.tryLoad(Connector, connectorId);
        if (connector === undefined) throw new AuthorizationInvalid({});
        const { redirectUri, returnTo } = connector.takeAuthorization(nonceHash, ctx.now);
        const { provider } = connector.state;
        const intent =
          credential === undefined || until === undefined
            ? undefined
            : ctx.send(connectors, "forgetCredential", { connectorId, credential }, { at: until });
        return { provider, redirectUri, returnTo, intent };
      },

      intendCredential: ({ connectorId, credential, until }, ctx) => ({
        intent: ctx.send(connectors, "forgetCredential", { connectorId, credential }, { at: until }),
      }),

      recordConnected: async ({ connectorId, isNew, intent, ...connection }, ctx) => {
        // Either it is connected with, or it is destroyed.
        ctx.unschedule(intent, { required: true });
        const connector = isNew
          ? ctx.add(new Connector(connectorId))
          : await ofProvider(ctx.load(Connector, connectorId), definitionOf(connection.provider));
        const replaced = isNew ? null : connector.state.credential;
        connector.connect({ ...connection, by: partyOf(ctx.principal) }, ctx.now);
        if (replaced !== null) ctx.send(connectors, "forgetCredential", { connectorId, credential: replaced });
        return toView(connector);
      },

      recordRefreshed: async ({ connectorId, credential, expiresAt }, ctx) => {
        (await ctx.load(Connector, connectorId)).credentialRefreshed(credential, expiresAt, ctx.now);
      },

      recordBroken: async ({ connectorId, credential, reason }, ctx) => {
        (await ctx.load(Connector, connectorId)).needsReauthorization(credential, reason, ctx.now);
      },

      forgetCredential: async ({ credential }, ctx) => {
        await ctx.secrets.delete(ctx.tenant, credential);
        await new ResponseCache(options.cache, cacheGroup(ctx.tenant, credential), ctx.log).clear();
      },
    },

    subscriptions: (on) => [
      // A connection that was completed while its tenant was being suspended may be missed below: whichever of the two
      // is durable last finds the other one.
      on(ConnectorConnected, { consumer: "connectors.check-tenant" }, async ({ data }, ctx) => {
        if (!(await isSuspended(ctx.use(identity)))) return;
        const connector = await ctx.load(Connector, data.connectorId);
        if (connector.state.credential === data.credential) disconnect(connector, ctx);
      }),
      on(TenantSuspended, { consumer: "connectors.disconnect-all" }, async (_event, ctx) => {
        for (const status of ["connected", "needs-reauthorization", "authorizing"]) {
          let after: string | undefined;
          do {
            const page = await ctx.find(Connector, { where: { status }, limit: 200, after });
            for (const connector of page.items)
              if (status === "authorizing") connector.voidAuthorization(ctx.now);
              else disconnect(connector, ctx);
            after = page.next;
          } while (after !== undefined);
        }
      }),
    ],
  });
}

/** Where a connection that is being made will keep its credential, and when it is destroyed if nothing comes of that. */
function newCredential(ctx: Ctx, connectorId: ConnectorId) {
  return {
    credential: credentialName(connectorId, ctx.newId("crd")),
    until: toInstant(ctx.deadline + UNCONNECTED_MS),
  };
}

// The credential goes once the disconnection is durable, and not before.
function disconnect(
  connector: Connector,
  ctx: {
    readonly now: string;
    send(
      contract: Connectors,
      operation: "forgetCredential",
      input: { connectorId: ConnectorId; credential: string },
    ): void;
  },
): void {
  const { credential } = connector.state;
  connector.disconnect(ctx.now);
  if (credential !== null) ctx.send(connectors, "forgetCredential", { connectorId: connector.id, credential });
}

// Where the host keeps its tenants elsewhere, nobody here knows of a suspension.
async function isSuspended(tenants: Pick<Client<Identity, "query">, "getTenant">): Promise<boolean> {
  try {
    return (await tenants.getTenant()).status === "suspended";
  } catch (error) {
    if (error instanceof NotFound || error instanceof Forbidden) return false;
    throw error;
  }
}

async function ofProvider(loading: Promise<Connector>, definition: ConnectorDefinition): Promise<Connector> {
  const connector = await loading;
  if (connector.state.provider !== definition.id)
    throw new NotFound({ type: `${definition.id} connector`, id: connector.id });
  return connector;
}

function partyOf({ actor, onBehalfOf }: Principal): Party | undefined {
  if (onBehalfOf !== undefined) return { type: onBehalfOf.type, id: onBehalfOf.id };
  return asParty(actor);
}

function hash(nonce: string): string {
  return createHash("sha256").update(nonce).digest("base64url");
}
