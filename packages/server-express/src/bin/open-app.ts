import { pglite, postgres } from "@armature/adapter-postgres";
import { type Armature, createArmature, type Logger, type RateLimiter, type StoreAdapter } from "@armature/core";
import { InMemoryRateLimiter } from "@armature/core/in-memory";
import { Pool } from "pg";
import type { ServerConfig } from "../config.ts";
import { loadHostModule } from "./host-module.ts";

/** An app on the configured store, and how to end it with everything that was opened for it. */
export interface OpenedApp {
  readonly app: Armature;
  /** The buckets of the app's limits, for the server's own. */
  readonly rateLimiter: RateLimiter;
  close(): Promise<void>;
}

/**
 * Makes the app that the configuration describes.
 *
 * @param options.relay whether this process publishes events: a command that ends at once leaves that to the server
 */
export async function openApp(
  config: ServerConfig,
  options: { readonly logger: Logger; readonly relay: boolean },
): Promise<OpenedApp> {
  const host = await loadHostModule(config.hostModule);
  const { store, end } = openStore(config.store);
  const rateLimiter = new InMemoryRateLimiter();
  try {
    const app = await createArmature({
      store,
      rateLimiter,
      keyEncryptionKey: config.key,
      connectors: host.connectors,
      contexts: host.contexts,
      allowedOrigins: [...host.allowedOrigins, ...config.allowedOrigins],
      returnOrigins: config.returnOrigins,
      allowSecretReveal: config.allowSecretReveal,
      oauthRedirectUri: `${config.publicUrl}/oauth/callback`,
      logger: options.logger,
      ...(options.relay ? {} : { relay: false }),
    });
    return {
      app,
      rateLimiter,
      close: async () => {
        await app.close();
        await end();
      },
    };
  } catch (error) {
    await store.close();
    await end();
    throw error;
  }
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
