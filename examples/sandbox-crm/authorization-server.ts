import { generateKeyPairSync } from "node:crypto";
import { parseArgs } from "node:util";
import Provider, { type JWK } from "oidc-provider";
import { z } from "zod";
import { crmAudience, crmScopes } from "./callers.ts";
import { isMain, listenOnLoopback, parseJson, Refusal, readText, runAsProcess, sendJson } from "./loopback-server.ts";
import { errorPage, serveSignInPages } from "./sign-in-pages.ts";
import { Simulation } from "./simulation.ts";
import { type GrantView, TokenStore } from "./token-store.ts";

const optionsSchema = z.strictObject({
  /** 0 takes a free one. */
  port: z.int().min(0).max(65_535).default(0),
  /** Lifetime of an access token. Short, so that a demo sees one expire. */
  accessTokenSeconds: z.int().positive().default(20),
  /** The application that connects to the CRM: it authenticates with its secret, in a header or in the body. */
  client: z.strictObject({
    id: z.string().min(1).default("armature-sandbox"),
    secret: z.string().min(1).default("sandbox-client-secret"),
    redirectUris: z.array(z.url()).min(1),
  }),
  /** The CRM itself, which asks here whether a token is good. */
  api: z
    .strictObject({ id: z.string().min(1), secret: z.string().min(1) })
    .default({ id: "sandbox-crm", secret: "sandbox-api-secret" }),
});
export type AuthorizationServerOptions = z.input<typeof optionsSchema>;

export interface AuthorizationServerStats {
  readonly tokenRequests: {
    /** Every request that reached the token endpoint, those that a simulated fault struck too. */
    readonly received: number;
    /** Those that were processed, by grant type. */
    readonly byGrantType: Readonly<Record<string, { readonly granted: number; readonly refused: number }>>;
  };
  /** Requests to the token endpoint that a simulated fault holds right now. */
  readonly held: number;
}

export interface AuthorizationServer {
  readonly origin: string;
  readonly port: number;
  stats(): AuthorizationServerStats;
  /** Faults of the token endpoint. */
  readonly simulation: Simulation;
  /** Ends every access token given out so far; refresh tokens stay good. Returns how many there were. */
  expireAccessTokens(): number;
  /** The lifetime of access tokens given out from now on. */
  setAccessTokenSeconds(seconds: number): void;
  grants(): GrantView[];
  /** As a user does who withdraws consent; false when there is no such grant alive. */
  revokeGrant(id: string): boolean;
  close(): Promise<void>;
}

/**
 * A real authorization server (oidc-provider) on a loopback port: authorization code with PKCE (S256 required), refresh
 * tokens that rotate on every use and whose second use revokes the grant, client credentials, opaque access tokens with
 * introspection.
 */
export async function startAuthorizationServer(options: AuthorizationServerOptions): Promise<AuthorizationServer> {
  const { port, client, api, ...rest } = optionsSchema.parse(options);
  let { accessTokenSeconds } = rest;
  const server = await listenOnLoopback(port);
  const store = new TokenStore();
  const simulation = new Simulation();
  const day = 24 * 60 * 60;

  const provider = new Provider(server.origin, {
    adapter: store.adapter,
    clients: [
      {
        client_id: client.id,
        client_secret: client.secret,
        redirect_uris: client.redirectUris,
        grant_types: ["authorization_code", "refresh_token", "client_credentials"],
        response_types: ["code"],
      },
      { client_id: api.id, client_secret: api.secret, redirect_uris: [], grant_types: [], response_types: [] },
    ],
    clientDefaults: { id_token_signed_response_alg: "ES256" },
    jwks: { keys: [signingKey()] },
    pkce: { required: () => true },
    // The library would rotate a confidential client's token only near its end.
    rotateRefreshToken: true,
    ttl: {
      AccessToken: (_context, token) => token.resourceServer?.accessTokenTTL ?? accessTokenSeconds,
      AuthorizationCode: 60,
      Grant: 14 * day,
      IdToken: 60 * 60,
      Interaction: 60 * 60,
      RefreshToken: 14 * day,
      Session: day,
    },
    interactions: { url: (_context, interaction) => `/interaction/${interaction.uid}` },
    renderError: (context, { error, error_description: description }) => {
      context.type = "html";
      context.body = errorPage(error, description);
    },
    findAccount: (_context, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      introspection: {
        enabled: true,
        allowedPolicy: (_context, asking, token) => asking.clientId === api.id || asking.clientId === token.clientId,
      },
      revocation: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => crmAudience,
        useGrantedResource: () => true,
        getResourceServerInfo: () => ({
          audience: crmAudience,
          scope: crmScopes.join(" "),
          accessTokenFormat: "opaque",
          accessTokenTTL: accessTokenSeconds,
        }),
      },
    },
  });
  provider.on("server_error", (_context, error) => console.error(error));

  let received = 0;
  const byGrantType: Record<string, { granted: number; refused: number }> = {};
  provider.use(async (context, next) => {
    if (context.path !== "/token") return next();
    received += 1;
    const work = async () => {
      await next();
      const grantType = z.string().catch("none").parse(context.oidc?.params?.grant_type);
      byGrantType[grantType] ??= { granted: 0, refused: 0 };
      byGrantType[grantType][context.status === 200 ? "granted" : "refused"] += 1;
    };
    context.respond = false;
    await simulation.through(context.req, context.res, work, () => {
      context.respond = true;
    });
  });

  const running: AuthorizationServer = {
    origin: server.origin,
    port: server.port,
    simulation,
    stats: () => structuredClone({ tokenRequests: { received, byGrantType }, held: simulation.held }),
    expireAccessTokens: () => store.expireAccessTokens(),
    setAccessTokenSeconds: (seconds) => {
      accessTokenSeconds = seconds;
    },
    grants: () => store.grants(),
    revokeGrant: (id) => store.revokeGrant(id),
    close: () => {
      simulation.lift();
      return server.close();
    },
  };

  const answer = provider.callback();
  server.serve(async (request, response) => {
    const url = new URL(request.url ?? "/", server.origin);
    if (url.pathname.startsWith("/interaction/")) return serveSignInPages(provider, request, response);
    if (url.pathname !== "/stats" && !url.pathname.startsWith("/simulate/")) return answer(request, response);
    if (await simulation.control(request, response, url)) return;
    const result = await control(running, `${request.method} ${url.pathname}`, () => readText(request));
    sendJson(response, 200, result);
  });
  return running;
}

/** The simulation's own controls. A real authorization server offers none of them. */
async function control(server: AuthorizationServer, route: string, body: () => Promise<string>): Promise<unknown> {
  switch (route) {
    case "GET /stats":
      return server.stats();
    case "GET /simulate/grants":
      return { grants: server.grants() };
    case "POST /simulate/expire-access-tokens":
      return { expired: server.expireAccessTokens() };
    case "PUT /simulate/access-token-seconds": {
      const { seconds } = parseJson(z.strictObject({ seconds: z.int().positive() }), await body());
      server.setAccessTokenSeconds(seconds);
      return { seconds };
    }
    case "POST /simulate/revoke-grant": {
      const { id } = parseJson(z.strictObject({ id: z.string() }), await body());
      if (!server.revokeGrant(id)) throw new Refusal(404, "not_found", "There is no such grant alive.");
      return { revoked: id };
    }
    default:
      throw new Refusal(404, "not_found", `There is no ${route}.`);
  }
}

/** A key of this run: nobody else can sign with it, and nothing outlives the process. */
function signingKey(): JWK {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  return { ...privateKey.export({ format: "jwk" }), alg: "ES256", use: "sig" } as JWK;
}

if (isMain(import.meta)) {
  await runAsProcess(async () => {
    const { values } = parseArgs({
      options: {
        port: { type: "string", default: "0" },
        "access-token-seconds": { type: "string", default: "20" },
        "redirect-uri": { type: "string", multiple: true, default: ["http://127.0.0.1:3000/oauth/callback"] },
      },
    });
    return startAuthorizationServer({
      port: Number(values.port),
      accessTokenSeconds: Number(values["access-token-seconds"]),
      client: {
        id: process.env.CRM_CLIENT_ID,
        secret: process.env.CRM_CLIENT_SECRET,
        redirectUris: values["redirect-uri"],
      },
    });
  });
}
