import {
  apiKey,
  defineConnector,
  type HttpResponse,
  type LimitedRequest,
  oauth2,
  type ProviderLimit,
  type Secret,
} from "@armature/core";
import { z } from "zod";
import { contactActions } from "./hubspot-contacts.ts";

export type { HubSpotContact } from "./hubspot-contacts.ts";
export { type HubSpotSignedRequest, verifyHubSpotSignature } from "./hubspot-signature.ts";

/** What HubSpot allows one account, in requests. */
export interface HubSpotLimits {
  /** In ten seconds, for each account that has installed an app with OAuth. */
  readonly oauthPer10Seconds: number;
  /** In ten seconds, for a private app: 100, or 190 from the Professional tier on. */
  readonly privateAppPer10Seconds: number;
  /** In a day, for all private apps of an account: 250,000, 625,000 or 1,000,000. OAuth knows no such limit. */
  readonly privateAppPerDay: number;
  /** In a second, for the search. It counts against no other limit in ten seconds. */
  readonly searchPerSecond: number;
}

interface CommonOptions {
  /** What an account may be asked for; what is left out is HubSpot's lowest. */
  readonly limits?: Partial<HubSpotLimits>;
  /** Origin of the API and of its token endpoint: for tests and regional hosts. */
  readonly api?: string;
  /** Origin of the pages where a person authorizes: for tests and regional hosts. */
  readonly app?: string;
}

interface OAuthOptions {
  /** Of the app, from its page "Auth". */
  readonly clientId: string;
  readonly clientSecret: string | Secret<string>;
  /** What a person is asked to grant; `oauth` and both contact scopes when absent. */
  readonly scopes?: readonly string[];
  /** What is granted only where the account has it, and keeps nobody from installing the app. */
  readonly optionalScopes?: readonly string[];
}

interface PrivateAppOptions {
  readonly clientId?: undefined;
  readonly clientSecret?: undefined;
  readonly scopes?: undefined;
  readonly optionalScopes?: undefined;
}

/** With a client, tenants connect by OAuth or with a private app's token; without one, with a token only. */
export type HubSpotOptions = CommonOptions & (OAuthOptions | PrivateAppOptions);

// Usage guidelines, as quoted in several repositories, and response headers recorded by NangoHQ/integration-templates.
// The search's: developers.hubspot.com/changelog/crm-search-api-rate-limit-increase. Later guides say five a second.
const LOWEST: HubSpotLimits = {
  oauthPer10Seconds: 110,
  privateAppPer10Seconds: 100,
  privateAppPerDay: 250_000,
  searchPerSecond: 4,
};

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

/**
 * HubSpot's CRM, version 2026-03: contacts. Give it to `createArmature({ connectors: [hubspot({ … })] })`.
 *
 * Scopes are those that HubSpot's description asks for. Refresh tokens are renewed as they come: the description
 * requires one in every token answer.
 */
export function hubspot(options: HubSpotOptions = {}) {
  const { api = "https://api.hubapi.com", app = "https://app.hubspot.com" } = options;
  return defineConnector({
    id: "hubspot",
    name: "HubSpot",
    auth: {
      ...(options.clientId === undefined ? {} : { oauth2: oauth(options, api, app) }),
      // A private app's token: https://developers.hubspot.com/docs/guides/apps/private-apps/overview
      apiKey: apiKey({ header: "authorization", prefix: "Bearer " }),
    },
    http: {
      baseUrl: api,
      limits: limitsOf({ ...LOWEST, ...options.limits }),
      failure: (answer) => (answer.status < 400 ? undefined : refusalOf(answer).category),
      retryAfter: (answer) => (answer.status === 429 ? waitOf(answer) : undefined),
    },
    // The account's details; it has no name of its own there.
    health: async ({ http }) => {
      const { portalId, accountType } = await http.get("/account-info/2026-03/details", { schema: account });
      const kind = accountType === "STANDARD" ? "account" : accountType.toLowerCase().replaceAll("_", " ");
      return { id: String(portalId), name: `HubSpot ${kind} ${portalId}` };
    },
    actions: contactActions,
  });
}

// Endpoints and members: the description's Auth/Oauth, 2026-03. The page: HubSpot/hubspot-api-nodejs,
// test/unit/authorizationUrl.spec.ts. PKCE is sent: the token endpoint takes a code_verifier.
function oauth({ clientId, clientSecret, scopes, optionalScopes = [] }: OAuthOptions, api: string, app: string) {
  return oauth2({
    authorizationEndpoint: new URL("/oauth/authorize", app).href,
    tokenEndpoint: new URL("/oauth/2026-03/token", api).href,
    clientId,
    clientSecret,
    clientAuthentication: "post",
    scopes: scopes ?? ["oauth", "crm.objects.contacts.read", "crm.objects.contacts.write"],
    parameters: optionalScopes.length === 0 ? {} : { optional_scope: optionalScopes.join(" ") },
    // A list, where RFC 6749 has one text.
    grantedScopes: (answer) => z.array(z.string()).safeParse(answer["scopes"]).data,
  });
}

const account = z.object({ portalId: z.int(), accountType: z.string() });

const word = z
  .string()
  .regex(/^[A-Z][A-Z_]{0,60}$/)
  .optional()
  .catch(undefined);
const refusal = z.object({ category: word, policyName: word });

/** HubSpot's words for a refusal. Its sentence is left out: it may quote what was sent. */
function refusalOf(answer: HttpResponse): z.infer<typeof refusal> {
  try {
    return refusal.parse(answer.json());
  } catch {
    // A proxy's page, say.
    return { category: undefined, policyName: undefined };
  }
}

// Which limit it was stands in `policyName`, as the usage guidelines show.
function waitOf(answer: HttpResponse): number | undefined {
  const { policyName } = refusalOf(answer);
  // A day begins at midnight in the account's time zone, which the answer does not name.
  if (policyName === "DAILY") return HOUR_MS;
  if (policyName !== "TEN_SECONDLY_ROLLING") return undefined;
  const interval = Number(answer.headers.get("x-hubspot-ratelimit-interval-milliseconds"));
  return interval > 0 && interval <= HOUR_MS ? interval : 10_000;
}

function limitsOf(limits: HubSpotLimits): readonly ProviderLimit[] {
  const isSearch = ({ method, path }: LimitedRequest) => method === "POST" && path.endsWith("/search");
  const isPrivateApp = ({ authentication }: LimitedRequest) => authentication === "api-key";
  return [
    window("oauth burst", limits.oauthPer10Seconds, 10_000, (request) => !isPrivateApp(request) && !isSearch(request)),
    window("burst", limits.privateAppPer10Seconds, 10_000, (request) => isPrivateApp(request) && !isSearch(request)),
    window("day", limits.privateAppPerDay, DAY_MS, isPrivateApp),
    window("search", limits.searchPerSecond, 1_000, isSearch),
  ];
}

/**
 * A bucket that never lets more through than HubSpot counts in any window: a fifth of the window's requests at once,
 * and the rest evenly while it lasts.
 */
function window(
  name: string,
  requests: number,
  windowMs: number,
  appliesTo: (request: LimitedRequest) => boolean,
): ProviderLimit {
  if (!Number.isInteger(requests) || requests < 2) throw new TypeError(`HubSpot's limit "${name}" must be at least 2.`);
  const capacity = Math.max(1, Math.floor(requests / 5));
  const refillMs = Math.ceil((windowMs * capacity) / (requests - capacity));
  return { name, per: "connector", capacity, refillMs, appliesTo };
}
