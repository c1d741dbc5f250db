import { existsSync } from "node:fs";
import { access, constants, statfs } from "node:fs/promises";
import { createServer } from "node:net";
import { dirname, resolve } from "node:path";
import { ArmatureError, type Logger } from "@armature/core";
import type { ServerConfig } from "../config.ts";
import { lookAtPostgres } from "./doctor-postgres.ts";
import { lookAtRedis } from "./doctor-redis.ts";
import { type Finding, fail, ok, warn } from "./finding.ts";
import { openApp } from "./open-app.ts";

const MIB = 1024 * 1024;

/**
 * Looks at everything that the server needs, and says of each what is found and what to do. Changes nothing but what
 * every start does: an embedded database is migrated.
 */
export async function* diagnose(config: ServerConfig, warnings: readonly string[]): AsyncIterable<Finding> {
  yield* lookAtConfig(config, warnings);
  yield await lookAtPort(config);
  const { store } = config;
  if (store.type === "postgres") {
    for await (const finding of lookAtPostgres(store)) {
      yield finding;
      // The rest would only say it again.
      if (finding.check === "store" && finding.status === "fail") return;
    }
  } else {
    yield* lookAtDirectory(store.dataDir);
    if (!existsSync(store.dataDir)) return;
  }
  if (config.redisUrl !== undefined) yield* lookAtRedis(config.redisUrl);
  yield* lookAtApp(config);
}

function* lookAtConfig(config: ServerConfig, warnings: readonly string[]): Iterable<Finding> {
  for (const warning of warnings) yield warn("config", warning, "Take it away, or give it the right name.");
  const { protocol, hostname } = new URL(config.publicUrl);
  const local = ["localhost", "127.0.0.1", "[::1]"].includes(hostname);
  if (protocol === "http:" && !local)
    yield warn(
      "config",
      `PUBLIC_URL is ${config.publicUrl}, so API keys travel unencrypted.`,
      "Put TLS before the server, and say https in PUBLIC_URL.",
    );
  if (!local && config.trustedProxies.length === 0)
    yield warn(
      "config",
      "TRUSTED_PROXIES is not set: behind a proxy, all clients share one address and its limits.",
      "List the proxies before the server, or leave it when there is none.",
    );
  if (config.corsOrigins === "*")
    yield warn("config", "CORS_ORIGINS lets pages of every origin call the API.", "List the origins that need it.");
  yield ok(
    "config",
    `read; Node.js ${process.versions.node}, ${config.hostModule === undefined ? "no ARMATURE_CONFIG" : config.hostModule}`,
  );
}

async function lookAtPort({ host, port }: ServerConfig): Promise<Finding> {
  const where = `${host}:${port}`;
  const error = await new Promise<NodeJS.ErrnoException | undefined>((done) => {
    const server = createServer();
    server.once("error", done);
    server.listen(port, host, () => server.close(() => done(undefined)));
  });
  if (error === undefined) return ok("port", `${where} is free`);
  if (error.code !== "EADDRINUSE")
    return fail(
      "port",
      `${where} cannot be listened on (${error.code}).`,
      "Give HOST and PORT that this user may listen on.",
    );
  const health = await fetch(
    `http://${host.includes(":") ? `[${host}]` : host === "0.0.0.0" ? "127.0.0.1" : host}:${port}/health`,
    {
      signal: AbortSignal.timeout(2_000),
    },
  ).catch(() => undefined);
  return health?.ok === true
    ? ok("port", `${where} is in use by a server that answers /health`)
    : fail("port", `${where} is in use by something else.`, "End it, or give another PORT.");
}

async function* lookAtDirectory(dataDir: string): AsyncIterable<Finding> {
  const there = existsSync(dataDir);
  let present = resolve(dataDir);
  while (!existsSync(present)) present = dirname(present);
  try {
    await access(present, constants.W_OK);
  } catch {
    yield fail("disk", `${present} cannot be written to.`, "Give this user the right to, or another DATA_DIR.");
    return;
  }
  const { bavail, bsize } = await statfs(present);
  const free = Math.floor((bavail * bsize) / MIB);
  if (free < 100)
    yield fail("disk", `${free} MiB are free where DATA_DIR is.`, "Make room: a full disk stops every write.");
  else if (free < 1024) yield warn("disk", `${free} MiB are free where DATA_DIR is.`, "Make room soon.");
  else yield ok("disk", `${free} MiB are free where DATA_DIR is`);
  if (!there)
    yield warn("store", `${dataDir} does not exist yet.`, "Nothing: the first start makes it. Or set DATA_DIR.");
}

const silent: Logger = { debug() {}, info() {}, warn() {}, error() {} };

// The app itself: the host's module, the migration, permissions on every function, and the secrets' key.
async function* lookAtApp(config: ServerConfig): AsyncIterable<Finding> {
  let opened: Awaited<ReturnType<typeof openApp>>;
  try {
    opened = await openApp(config, { logger: silent, relay: false });
  } catch (error) {
    yield failureOf("store", error);
    return;
  }
  const { app } = opened;
  try {
    const pending = await app.pendingMigration();
    if (pending.length > 0) {
      const some = `${pending.slice(0, 3).join(", ")}${pending.length > 3 ? " and others" : ""}`;
      yield fail("migration", `${pending.length} steps are missing (${some}).`, "Run armature-server migrate.");
      return;
    }
    yield ok("migration", "nothing is missing");
    // Reads by the functions of every context, as a call does; nobody's tenant.
    await app.as({ tenant: "armature-doctor", system: "armature-server" }).audit.list({ limit: 1 });
    if (config.store.type === "pglite") yield ok("store", `PGlite in ${config.store.dataDir} answers`);
    else yield ok("permissions", "every context can be read");
    await app.ready();
    yield ok("secrets", "ARMATURE_KEY opens them");
    if (config.redisUrl === undefined) yield ok("bus", "in this process");
  } catch (error) {
    yield failureOf("store", error);
  } finally {
    await opened.close();
  }
}

const advice: Readonly<Record<string, readonly [check: string, todo: string]>> = {
  "store.directory_in_use": ["store", "The server is running on it: end it to have more looked at, or ask its /ready."],
  "store.not_migrated": ["migration", "Run armature-server migrate, as a role that may, for the role of DATABASE_URL."],
  "store.unavailable": ["store", "Look whether the database runs and DATABASE_URL leads to it."],
  "secret.key_encryption_key_wrong": ["secrets", "Give the ARMATURE_KEY that the data was made with."],
};

function failureOf(check: string, error: unknown): Finding {
  const code = error instanceof ArmatureError ? error.code : "";
  const [about, todo] = advice[code] ?? [
    error instanceof Error && error.name === "ConfigInvalid" ? "config" : check,
    "Mend what the sentence names.",
  ];
  const sentence = error instanceof Error ? error.message : String(error);
  return code === "store.directory_in_use" ? warn(about, sentence, todo) : fail(about, sentence, todo);
}
