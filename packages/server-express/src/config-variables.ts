import { isProxyRange } from "./client-address.ts";

export const logLevels = ["debug", "info", "warn", "error", "silent"] as const;

/** A variable: what it must be, an example, how its text is read (undefined: it is no value), and what it is for. */
function variable<T>(about: string, must: string, example: string, read: (text: string) => T | undefined) {
  return { about, must, example, read };
}

const whole = (about: string, min: number, max: number, example: string) =>
  variable(about, `must be a whole number from ${min} to ${max}`, example, (text) =>
    /^\d{1,10}$/.test(text) && Number(text) >= min && Number(text) <= max ? Number(text) : undefined,
  );

const origins = (about: string, example: string) =>
  variable(about, "must be origins (scheme, host and port) with commas between them", example, originList);

function originList(text: string): readonly string[] | undefined {
  const list = text.split(",").map((each) => originOf(each.trim()));
  return list.includes(undefined) ? undefined : (list as string[]);
}

const yesOrNo = (about: string, example: string) =>
  variable(about, "must be true or false", example, (text) =>
    text === "true" || text === "false" ? text === "true" : undefined,
  );

/** Every variable of the environment that the reference server reads, in the order of its help. */
export const variables = {
  PORT: whole("port to listen on (3000)", 0, 65_535, "3000"),
  HOST: variable(
    "address to listen on (127.0.0.1)",
    "must be a host name or address to listen on",
    "127.0.0.1",
    (text) => (/^[A-Za-z0-9.:_-]+$/.test(text) ? text : undefined),
  ),
  PUBLIC_URL: variable(
    "where browsers and clients reach the server (http://HOST:PORT)",
    "must be the http or https address that clients use, without a query string",
    "https://api.example.com",
    (text) => {
      const url = urlOf(text, ["http:", "https:"]);
      return url === undefined || url.search !== "" || url.hash !== "" || url.username !== "" || url.password !== ""
        ? undefined
        : url.href.replace(/\/+$/, "");
    },
  ),
  DATABASE_URL: variable(
    "PostgreSQL; without it DATA_DIR",
    "must be a PostgreSQL address",
    "postgres://armature:password@127.0.0.1:5432/armature",
    (text) => (urlOf(text, ["postgres:", "postgresql:"]) === undefined ? undefined : text),
  ),
  MIGRATION_DATABASE_URL: variable(
    "PostgreSQL, as a role that may migrate, where DATABASE_URL's may not",
    "must be the PostgreSQL address of a role that may create schemas and roles",
    "postgres://admin:password@127.0.0.1:5432/armature",
    (text) => (urlOf(text, ["postgres:", "postgresql:"]) === undefined ? undefined : text),
  ),
  DATABASE_POOL_SIZE: whole("connections to PostgreSQL (10)", 1, 1000, "10"),
  REDIS_URL: variable(
    "Redis, for events to other processes, the limits and cached answers of all servers; without it each has its own",
    "must be a Redis address",
    "redis://armature:password@127.0.0.1:6379",
    (text) => (urlOf(text, ["redis:", "rediss:"]) === undefined ? undefined : text),
  ),
  DATA_DIR: variable(
    "where the embedded PGlite keeps its data (./armature-data)",
    "must be a directory",
    "./armature-data",
    (text) => text,
  ),
  ARMATURE_KEY: variable(
    "seals every secret: 32 bytes in base64 (openssl rand -base64 32). Needed.",
    "must be 32 bytes in base64",
    "the output of `openssl rand -base64 32`",
    (text) => (isKey(text) ? text : undefined),
  ),
  TOKEN_KEYS: variable(
    "signs the tokens of remote agents: keys of 32 bytes in base64; the first signs, all count (follows from ARMATURE_KEY)",
    "must be keys of 32 bytes in base64 with commas between them",
    "the output of `openssl rand -base64 32`",
    (text) => {
      const keys = text.split(",").map((each) => each.trim());
      return keys.every(isKey) ? (keys as [string, ...string[]]) : undefined;
    },
  ),
  ARMATURE_CONFIG: variable(
    "a module that exports connectors, contexts, workflows, agents, tenantAgents, models, prices, allowedOrigins",
    "must be the path of a module",
    "./armature.config.ts",
    (text) => text,
  ),
  ALLOWED_ORIGINS: origins(
    "origins that connectors may call although they are private",
    "http://127.0.0.1:4000,http://crm.internal:8080",
  ),
  RETURN_ORIGINS: origins("origins that the OAuth callback may send a browser on to", "https://app.example.com"),
  ALLOW_SECRET_REVEAL: yesOrNo("whether secrets can be read back through the API (false)", "false"),
  API_DOCS: yesOrNo("whether GET /docs shows the operations (true)", "true"),
  COMPRESSION: yesOrNo("whether answers are compressed that may be (true)", "true"),
  REQUIRE_IDEMPOTENCY_KEY: yesOrNo("whether changes by POST and PATCH need an Idempotency-Key (false)", "false"),
  CORS_ORIGINS: variable(
    "origins whose pages may call the API, or * for any (none)",
    "must be origins (scheme, host and port) with commas between them, or *",
    "https://app.example.com",
    (text) => (text === "*" ? ("*" as const) : originList(text)),
  ),
  TRUSTED_PROXIES: variable(
    "proxies before the server, whose X-Forwarded-For is believed (none)",
    "must be addresses, ranges, loopback or uniquelocal with commas between them",
    "10.0.0.0/8,loopback",
    (text) => {
      const list = text.split(",").map((each) => each.trim());
      return list.every(isProxyRange) ? list : undefined;
    },
  ),
  RATE_LIMIT_ADDRESS: whole("requests a minute from one address; 0: any number (6000)", 0, 10_000_000, "600"),
  RATE_LIMIT_FAILURES: whole("wrong API keys a minute from one address; 0: any number (30)", 0, 10_000_000, "30"),
  RATE_LIMIT_KEY: whole("requests a minute with one API key; 0: any number (6000)", 0, 10_000_000, "600"),
  RATE_LIMIT_TENANT: whole("requests a minute of one tenant; 0: any number (30000)", 0, 10_000_000, "6000"),
  HSTS_SECONDS: whole(
    "how long browsers keep to https (180 days when PUBLIC_URL is https, else 0)",
    0,
    63_072_000,
    "15552000",
  ),
  METRICS_ADDRESS: variable(
    "where Prometheus finds the metrics, at /metrics (nowhere)",
    "must be a host and a port of its own, not the API's",
    "127.0.0.1:9464",
    (text) => {
      const [, host, port] = /^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):(\d{1,5})$/.exec(text) ?? [];
      return host === undefined || Number(port) < 1 || Number(port) > 65_535
        ? undefined
        : { host: host.replace(/^\[|\]$/g, ""), port: Number(port) };
    },
  ),
  LOG_LEVEL: variable(
    "debug, info, warn, error or silent (info)",
    `must be one of ${logLevels.join(", ")}`,
    "info",
    (text) => logLevels.find((level) => level === text),
  ),
  BODY_LIMIT: variable(
    "longest request body (1mb)",
    "must be a number of bytes, or of kb or mb, up to 100mb",
    "1mb",
    (text) => {
      const [, number, unit = ""] = /^(\d{1,9})(kb|mb)?$/i.exec(text) ?? [];
      const bytes = Number(number) * ({ "": 1, kb: 1024, mb: 1024 * 1024 }[unit.toLowerCase()] ?? Number.NaN);
      return bytes >= 1 && bytes <= 100 * 1024 * 1024 ? bytes : undefined;
    },
  ),
  MAX_TIMEOUT_MS: whole("longest time a client may ask for (120000)", 1, 86_400_000, "120000"),
  SHUTDOWN_TIMEOUT_MS: whole("how long requests under way may take at the end (25000)", 0, 3_600_000, "25000"),
};

function isKey(text: string): boolean {
  const bytes = Buffer.from(text, "base64");
  return bytes.byteLength === 32 && bytes.toString("base64").replace("=", "") === text.replace("=", "");
}

function urlOf(text: string, protocols: readonly string[]): URL | undefined {
  const url = URL.parse(text);
  return url !== null && protocols.includes(url.protocol) && url.hostname !== "" ? url : undefined;
}

function originOf(text: string): string | undefined {
  const url = urlOf(text, ["http:", "https:"]);
  return url !== undefined && url.href === `${url.origin}/` ? url.origin : undefined;
}
