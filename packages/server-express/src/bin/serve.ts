import { setTimeout as sleep } from "node:timers/promises";
import { type Bucket, KeyEncryptionKeyWrong } from "@armature/core";
import { ConfigInvalid, type ServerConfig } from "../config.ts";
import { pinoLogger } from "../pino-logger.ts";
import { startServer } from "../server.ts";
import { CommandRefused } from "./command-refused.ts";
import { startMetrics } from "./metrics.ts";
import { type OpenedApp, openApp } from "./open-app.ts";

/** Runs the server until a signal ends it. A second signal ends the process at once. */
export async function serve(config: ServerConfig, warnings: readonly string[], version: string): Promise<void> {
  const logger = pinoLogger({ level: config.logLevel });
  for (const warning of warnings) logger.warn(warning);
  const dieOf = (what: string) => (error: unknown) => {
    logger.error(what, { error });
    process.exit(1);
  };
  process.on("uncaughtException", dieOf("Ended by an error that nobody caught"));
  process.on("unhandledRejection", dieOf("Ended by a rejection that nobody handled"));

  const endMetrics = config.metrics === undefined ? undefined : await startMetrics(config.metrics);
  const opened = await openApp(config, { logger, relay: true });
  const notReady = await readiness(opened.app);
  if (notReady instanceof KeyEncryptionKeyWrong) {
    await opened.close();
    throw new ConfigInvalid(
      ["ARMATURE_KEY is not the key that this store's secrets were sealed with: start with that one."],
      { cause: notReady },
    );
  }
  let running: Awaited<ReturnType<typeof startServer>>;
  try {
    running = await startServer({
      app: { ...opened.app, close: opened.close },
      host: config.host,
      port: config.port,
      logger,
      bodyLimit: config.bodyLimit,
      maxTimeoutMs: config.maxTimeoutMs,
      shutdownTimeoutMs: config.shutdownTimeoutMs,
      openapi: { version, serverUrl: config.publicUrl },
      docs: config.docs,
      compression: config.compression,
      requireIdempotencyKey: config.requireIdempotencyKey,
      cors: config.corsOrigins.length === 0 ? undefined : { origins: config.corsOrigins },
      trustedProxies: config.trustedProxies,
      hstsSeconds: config.hstsSeconds,
      mcp: opened.mcp === undefined ? undefined : { hosts: hostsOf(config.publicUrl), ...opened.mcp },
      rateLimits: { limiter: opened.rateLimiter, ...bucketsOf(config.rateLimits) },
    });
  } catch (error) {
    await opened.close();
    const { code } = error as NodeJS.ErrnoException;
    if (code === undefined) throw error;
    throw new CommandRefused(`The server cannot listen on HOST ${config.host} and PORT ${config.port} (${code}).`, {
      cause: error,
    });
  }
  let ending = false;
  const end = (signal: NodeJS.Signals) => {
    if (ending) process.exit(signal === "SIGINT" ? 130 : 143);
    ending = true;
    logger.info("shutting down", { signal });
    running.close().then(async () => {
      await endMetrics?.();
      logger.info("stopped");
      process.exit(0);
    }, dieOf("The shutdown failed"));
  };
  process.on("SIGTERM", end);
  process.on("SIGINT", end);
  logger.info("listening", { origin: running.origin, publicUrl: config.publicUrl, version, store: config.store.type });
  if (notReady !== undefined) logger.warn("Not ready yet", { error: String(notReady) });
}

/** What the app still waits for, as far as it says so within seconds. */
function readiness(app: OpenedApp["app"]): Promise<unknown> {
  const silence = sleep(READY_TIMEOUT_MS, new Error("The store, the bus or the secrets do not answer."), {
    ref: false,
  });
  return Promise.race([app.ready().catch((error: unknown) => error), silence]);
}

/** What clients reach the server under, as far as it knows. */
function hostsOf(publicUrl: string): readonly string[] {
  return [new URL(publicUrl).hostname, "localhost", "127.0.0.1", "[::1]"];
}

const READY_TIMEOUT_MS = 5_000;

const MINUTE_MS = 60_000;

function bucketsOf(limits: ServerConfig["rateLimits"]): Partial<Record<keyof typeof limits, Bucket>> {
  const set = Object.entries(limits).filter(([, perMinute]) => perMinute > 0);
  return Object.fromEntries(set.map(([name, capacity]) => [name, { capacity, refillMs: MINUTE_MS }]));
}
