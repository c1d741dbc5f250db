import { type Armature, type ArmatureOptions, type Clock, createArmature, systemClock } from "@armature/core";
import { inMemory } from "@armature/core/in-memory";
import { type RecordingLogger, recordingLogger } from "@armature/core/testing";
import { sandboxCrm } from "@armature-examples/sandbox-crm";
import {
  type AuthorizationServer,
  startAuthorizationServer,
} from "@armature-examples/sandbox-crm/authorization-server";
import { walkAuthorization } from "@armature-examples/sandbox-crm/browser";
import { type CrmServer, startCrmServer } from "@armature-examples/sandbox-crm/crm-server";
import { afterAll, afterEach, beforeAll } from "vitest";
import { keyEncryptionKey } from "../scenarios/place.ts";

export const redirectUri = "http://127.0.0.1:3000/oauth/callback";
export const apiKey = "sandbox-api-key";
export const provider = "sandbox-crm";
type ConnectorId = `con_${string}`;

type Options = Partial<ArmatureOptions>;

export interface Sandbox {
  readonly authorization: AuthorizationServer;
  readonly crm: CrmServer;
  readonly logger: RecordingLogger;
  /** The connector, with its limits out of the way. */
  definition(options?: Partial<Parameters<typeof sandboxCrm>[0]>): ReturnType<typeof sandboxCrm>;
  /** An application of one process; each test's are closed after it. */
  start(options?: Options): Promise<Armature>;
  /** A tenant and an account at the provider that no other test has. */
  tenant(): string;
  /** Walks through the provider's pages as ann; the address that the browser is sent back to. */
  walk(app: Armature, tenant: string, press?: string, connectorId?: ConnectorId): Promise<Returned>;
  connect(app: Armature, tenant: string): Promise<ConnectorId>;
  connectWithKey(app: Armature, tenant: string): Promise<ConnectorId>;
  /** Requests to the token endpoint so far. */
  tokenRequests(): number;
  /** Answers of the CRM so far. */
  crmAnswers(): number;
  /** Whether the last grant that the tenant's account gave is alive. */
  grantAlive(tenant: string): boolean;
}

export interface Returned {
  readonly connectorId: ConnectorId;
  readonly query: URLSearchParams;
}

let tenants = 0;

/** Starts the sandbox's servers for the tests of a file. */
export function useSandbox(options: { readonly accessTokenSeconds?: number } = {}): Sandbox {
  let authorization: AuthorizationServer;
  let crm: CrmServer;
  let logger = recordingLogger();
  const running: Armature[] = [];

  beforeAll(async () => {
    authorization = await startAuthorizationServer({
      accessTokenSeconds: options.accessTokenSeconds ?? 3_600,
      client: { redirectUris: [redirectUri] },
    });
    crm = await startCrmServer({
      authorizationServer: authorization.origin,
      requestsPerSecond: 100_000,
      contacts: 20,
    });
  });
  afterEach(async () => {
    authorization.simulation.lift();
    crm.simulation.lift();
    authorization.setAccessTokenSeconds(options.accessTokenSeconds ?? 3_600);
    for (const app of running.splice(0)) await app.close();
    logger = recordingLogger();
  });
  afterAll(async () => {
    await crm?.close();
    await authorization?.close();
  });

  const sandbox: Sandbox = {
    get authorization() {
      return authorization;
    },
    get crm() {
      return crm;
    },
    get logger() {
      return logger;
    },
    definition: (changed = {}) =>
      sandboxCrm({
        clientId: "armature-sandbox",
        clientSecret: "sandbox-client-secret",
        authorizationServer: authorization.origin,
        api: crm.origin,
        requestsPerSecond: 100_000,
        ...changed,
      }),
    async start(given = {}) {
      const app = await createArmature({
        store: inMemory(),
        keyEncryptionKey,
        authorizer: () => true,
        connectors: [sandbox.definition()],
        allowedOrigins: [authorization.origin, crm.origin],
        oauthRedirectUri: redirectUri,
        returnOrigins: ["https://host.example"],
        logger,
        ...given,
      });
      running.push(app);
      return app;
    },
    tenant() {
      tenants += 1;
      return `customer-${tenants}`;
    },
    async walk(app, tenant, press, connectorId) {
      const ann = app.as({ tenant, user: "ann" });
      const begun = await ann.connectors.authorize({ provider, connectorId });
      const back = await walkAuthorization(begun.url, {
        stopAt: redirectUri,
        fill: { account: tenant },
        ...(press === undefined ? {} : { press }),
      });
      return { connectorId: begun.connectorId, query: back.searchParams };
    },
    async connect(app, tenant) {
      const { connectorId, query } = await sandbox.walk(app, tenant);
      await app.oauthCallback(query);
      return connectorId;
    },
    async connectWithKey(app, tenant) {
      const { connectors } = app.as({ tenant, user: "ann" });
      return (await connectors.connectWithApiKey({ provider, apiKey })).id;
    },
    tokenRequests: () => authorization.stats().tokenRequests.received,
    crmAnswers: () => Object.values(crm.stats().answers).reduce((sum, count) => sum + count, 0),
    grantAlive: (tenant) => authorization.grants().findLast(({ account }) => account === tenant)?.alive ?? false,
  };
  return sandbox;
}

/** The machine's clock, whose time can be moved on. Who sleeps goes on sleeping. */
export function movableClock(): Clock & { skip(ms: number): void } {
  const real = systemClock();
  let skipped = 0;
  return {
    now: () => real.now() + skipped,
    sleep: (ms, signal) => real.sleep(ms, signal),
    skip: (ms) => {
      skipped += ms;
    },
  };
}

export const hours = (count: number) => count * 3_600_000;
