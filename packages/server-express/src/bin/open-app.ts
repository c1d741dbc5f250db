import { pglite, postgres } from "@armature/adapter-postgres";
import { openRedis, redisCache, redisRateLimiter, redisStreams } from "@armature/adapter-redis";
import {
  type Armature,
  type ArmatureOptions,
  createArmature,
  type EventBus,
  type EventLog,
  type Logger,
  type RateLimiter,
  type StoreAdapter,
} from "@armature/core";
import { InMemoryRateLimiter } from "@armature/core/in-memory";
import { Pool } from "pg";
import type { ServerConfig } from "../config.ts";
import { type HostModule, loadHostModule } from "./host-module.ts";

/** An app on the configured store, and how to end it with everything that was opened for it. */
export interface OpenedApp {
  readonly app: Armature;
  /** What has happened, over all tenants. */
  readonly log: EventLog;
  /** The buckets of the app's limits, for the server's own. */
  readonly rateLimiter: RateLimiter;
  /** What the host offers to MCP clients, if anything. */
  readonly mcp: HostModule["mcp"];
  close(): Promise<void>;
}

/**
 * Makes the app that the configuration describes.
 *
 * @param options.relay whether this process publishes events, keeps projections up to date and works on durable
 *   executions: a command that ends at once leaves that to the server
 */
export async function openApp(
  config: ServerConfig,
  options: { readonly logger: Logger; readonly relay: boolean },
): Promise<OpenedApp> {
  const host = await loadHostModule(config.hostModule);
  const { store, end } = openStore(config.store);
  const redis = await openRedisPorts(config.redisUrl, options.logger);
  const { rateLimiter } = redis.ports;
  try {
    const app = await createArmature({
      store,
      ...redis.ports,
      keyEncryptionKey: config.key,
      apiUrl: config.publicUrl,
      ...(config.tokenKeys === undefined ? {} : { tokenKeys: config.tokenKeys }),
      connectors: host.connectors,
      contexts: host.contexts,
      workflows: host.workflows,
      agents: host.agents,
      ...(host.tenantAgents === undefined ? {} : { tenantAgents: host.tenantAgents }),
      models: host.models,
      ...(host.prices === undefined ? {} : { prices: host.prices }),
      allowedOrigins: [...host.allowedOrigins, ...config.allowedOrigins],
      returnOrigins: config.returnOrigins,
      allowSecretReveal: config.allowSecretReveal,
      oauthRedirectUri: `${config.publicUrl}/oauth/callback`,
      logger: options.logger,
      ...(options.relay ? {} : { relay: false, projections: false, executions: false }),
    });
    return {
      app,
      log: store.log,
      rateLimiter,
      mcp: host.mcp,
      close: async () => {
        await app.close();
        await end();
        await redis.close();
      },
    };
  } catch (error) {
    await store.close();
    await end();
    await redis.close();
    throw error;
  }
}

/**
 * What Redis can do for the app. Leases stay the store's: they guard what is in it, and the relay goes on without Redis.
 */
async function openRedisPorts(
  url: string | undefined,
  logger: Logger,
): Promise<{
  readonly ports: Pick<ArmatureOptions, "bus" | "cache"> & { readonly rateLimiter: RateLimiter };
  close(): Promise<void>;
}> {
  const own = new InMemoryRateLimiter();
  if (url === undefined) return { ports: { rateLimiter: own }, close: async () => undefined };
  const { client, close } = await openRedis(url, { logger });
  const streams = redisStreams({ client, logger });
  const bus: EventBus = {
    publish: (events) => streams.publish(events),
    subscribe: (subscription) => streams.subscribe(subscription),
    // A server serves without Redis, its events wait: whoever asks whether it is ready need not take it away.
    ping: async () => undefined,
    close: () => streams.close(),
  };
  return {
    ports: { bus, cache: redisCache({ client }), rateLimiter: redisRateLimiter({ client, whileDown: own }) },
    close,
  };
}

function openStore(config: ServerConfig["store"]): { readonly store: StoreAdapter; end(): Promise<void> } {
  if (config.type === "pglite") return { store: pglite({ dataDir: config.dataDir }), end: async () => undefined };
  const pool = new Pool({ connectionString: config.url, max: config.poolSize });
  const migrationPool =
    config.migrationUrl === undefined ? undefined : new Pool({ connectionString: config.migrationUrl, max: 1 });
  return {
    store: postgres({ pool, migrationPool }),
    end: async () => {
      await Promise.all([pool.end(), migrationPool?.end()]);
    },
  };
}
