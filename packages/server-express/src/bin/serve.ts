import type { Bucket } from "@armature/core";
import type { ServerConfig } from "../config.ts";
import { pinoLogger } from "../pino-logger.ts";
import { startServer } from "../server.ts";
import { CommandRefused } from "./command-refused.ts";
import { openApp } from "./open-app.ts";

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

  const opened = await openApp(config, { logger, relay: true });
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
    running.close().then(() => {
      logger.info("stopped");
      process.exit(0);
    }, dieOf("The shutdown failed"));
  };
  process.on("SIGTERM", end);
  process.on("SIGINT", end);
  logger.info("listening", { origin: running.origin, publicUrl: config.publicUrl, version, store: config.store.type });
  await opened.app.ready().catch((error: unknown) => logger.warn("Not ready yet", { error: String(error) }));
}

const MINUTE_MS = 60_000;

function bucketsOf(limits: ServerConfig["rateLimits"]): Partial<Record<keyof typeof limits, Bucket>> {
  const set = Object.entries(limits).filter(([, perMinute]) => perMinute > 0);
  return Object.fromEntries(set.map(([name, capacity]) => [name, { capacity, refillMs: MINUTE_MS }]));
}
