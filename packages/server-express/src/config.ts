import { z } from "zod";

/** What the reference server is started with. */
export interface ServerConfig {
  readonly host: string;
  readonly port: number;
  /** Where browsers and clients reach the server, without a slash at the end. */
  readonly publicUrl: string;
  readonly store:
    | {
        readonly type: "postgres";
        readonly url: string;
        readonly migrationUrl: string | undefined;
        readonly poolSize: number;
      }
    | { readonly type: "pglite"; readonly dataDir: string };
  /** 32 bytes in base64. */
  readonly key: string;
  /** Path of the host's module. */
  readonly hostModule: string | undefined;
  readonly allowedOrigins: readonly string[];
  readonly returnOrigins: readonly string[];
  readonly allowSecretReveal: boolean;
  readonly logLevel: (typeof logLevels)[number];
  /** Bytes. */
  readonly bodyLimit: number;
  readonly maxTimeoutMs: number;
  readonly shutdownTimeoutMs: number;
}

/** The environment is not one to start with. Its sentences name variables and never quote their values. */
export class ConfigInvalid extends Error {
  override readonly name = "ConfigInvalid";
  readonly sentences: readonly string[];

  constructor(sentences: readonly string[], options?: ErrorOptions) {
    super(sentences.join("\n"), options);
    this.sentences = sentences;
  }
}

const logLevels = ["debug", "info", "warn", "error", "silent"] as const;

/** A variable: what it must be, an example, and how its text is read. Undefined text is no value of it. */
function variable<T>(must: string, example: string, read: (text: string) => T | undefined) {
  return { must, example, read };
}

const whole = (min: number, max: number, example: string) =>
  variable(`must be a whole number from ${min} to ${max}`, example, (text) =>
    /^\d{1,10}$/.test(text) && Number(text) >= min && Number(text) <= max ? Number(text) : undefined,
  );

const origins = (example: string) =>
  variable("must be origins (scheme, host and port) with commas between them", example, (text) => {
    const list = text.split(",").map((each) => originOf(each.trim()));
    return list.includes(undefined) ? undefined : (list as string[]);
  });

const variables = {
  PORT: whole(0, 65_535, "3000"),
  HOST: variable("must be a host name or address to listen on", "127.0.0.1", (text) =>
    /^[A-Za-z0-9.:_-]+$/.test(text) ? text : undefined,
  ),
  PUBLIC_URL: variable(
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
    "must be a PostgreSQL address",
    "postgres://armature:password@127.0.0.1:5432/armature",
    (text) => (urlOf(text, ["postgres:", "postgresql:"]) === undefined ? undefined : text),
  ),
  MIGRATION_DATABASE_URL: variable(
    "must be the PostgreSQL address of a role that may create schemas and roles",
    "postgres://admin:password@127.0.0.1:5432/armature",
    (text) => (urlOf(text, ["postgres:", "postgresql:"]) === undefined ? undefined : text),
  ),
  DATABASE_POOL_SIZE: whole(1, 1000, "10"),
  DATA_DIR: variable("must be a directory", "./armature-data", (text) => text),
  ARMATURE_KEY: variable("must be 32 bytes in base64", "the output of `openssl rand -base64 32`", (text) =>
    isKey(text) ? text : undefined,
  ),
  ARMATURE_CONFIG: variable("must be the path of a module", "./armature.config.ts", (text) => text),
  ALLOWED_ORIGINS: origins("http://127.0.0.1:4000,http://crm.internal:8080"),
  RETURN_ORIGINS: origins("https://app.example.com"),
  ALLOW_SECRET_REVEAL: variable("must be true or false", "false", (text) =>
    text === "true" || text === "false" ? text === "true" : undefined,
  ),
  LOG_LEVEL: variable(`must be one of ${logLevels.join(", ")}`, "info", (text) =>
    logLevels.find((level) => level === text),
  ),
  BODY_LIMIT: variable("must be a number of bytes, or of kb or mb, up to 100mb", "1mb", (text) => {
    const [, number, unit = ""] = /^(\d{1,9})(kb|mb)?$/i.exec(text) ?? [];
    const bytes = Number(number) * ({ "": 1, kb: 1024, mb: 1024 * 1024 }[unit.toLowerCase()] ?? Number.NaN);
    return bytes >= 1 && bytes <= 100 * 1024 * 1024 ? bytes : undefined;
  }),
  MAX_TIMEOUT_MS: whole(1, 86_400_000, "120000"),
  SHUTDOWN_TIMEOUT_MS: whole(0, 3_600_000, "25000"),
};

type Variables = typeof variables;
type Read = { readonly [K in keyof Variables]?: NonNullable<ReturnType<Variables[K]["read"]>> };

const environment = z.object(
  Object.fromEntries(
    Object.entries(variables).map(([name, { must, example, read }]) => [
      name,
      z
        .string()
        .optional()
        .transform((text, ctx): unknown => {
          // Compose files and shells write an unset variable as an empty one.
          if (text === undefined || text.trim() === "") return undefined;
          const value: unknown = read(text.trim());
          if (value === undefined) ctx.addIssue(`${name} ${must}, for example ${example}.`);
          return value;
        }),
    ]),
  ),
);

/**
 * Reads the environment.
 *
 * @throws {ConfigInvalid} with a sentence for each wrong variable
 */
export function readConfig(env: Readonly<Record<string, string | undefined>>): {
  readonly config: ServerConfig;
  readonly warnings: readonly string[];
} {
  const parsed = environment.safeParse(env);
  if (!parsed.success) throw new ConfigInvalid(parsed.error.issues.map(({ message }) => message));
  const read = parsed.data as Read;
  const problems = [
    ...(read.ARMATURE_KEY === undefined
      ? ["ARMATURE_KEY is missing: it seals every secret, so make one with `openssl rand -base64 32` and keep it."]
      : []),
    ...(read.DATABASE_URL !== undefined && read.DATA_DIR !== undefined
      ? ["DATABASE_URL and DATA_DIR are both set: give the one that holds the data, and take the other away."]
      : []),
    ...(read.MIGRATION_DATABASE_URL !== undefined && read.DATABASE_URL === undefined
      ? ["MIGRATION_DATABASE_URL needs DATABASE_URL beside it: the address that the server itself uses."]
      : []),
  ];
  if (problems.length > 0) throw new ConfigInvalid(problems);
  const { HOST: host = "127.0.0.1", PORT: port = 3000 } = read;
  return {
    config: {
      host,
      port,
      publicUrl: read.PUBLIC_URL ?? `http://${isAnyAddress(host) ? "localhost" : inUrl(host)}:${port}`,
      store:
        read.DATABASE_URL === undefined
          ? { type: "pglite", dataDir: read.DATA_DIR ?? "./armature-data" }
          : {
              type: "postgres",
              url: read.DATABASE_URL,
              migrationUrl: read.MIGRATION_DATABASE_URL,
              poolSize: read.DATABASE_POOL_SIZE ?? 10,
            },
      key: read.ARMATURE_KEY!,
      hostModule: read.ARMATURE_CONFIG,
      allowedOrigins: read.ALLOWED_ORIGINS ?? [],
      returnOrigins: read.RETURN_ORIGINS ?? [],
      allowSecretReveal: read.ALLOW_SECRET_REVEAL ?? false,
      logLevel: read.LOG_LEVEL ?? "info",
      bodyLimit: read.BODY_LIMIT ?? 1024 * 1024,
      maxTimeoutMs: read.MAX_TIMEOUT_MS ?? 120_000,
      shutdownTimeoutMs: read.SHUTDOWN_TIMEOUT_MS ?? 25_000,
    },
    warnings: unknownNames(Object.keys(env)),
  };
}

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

function isAnyAddress(host: string): boolean {
  return host === "0.0.0.0" || host === "::";
}

function inUrl(host: string): string {
  return host.includes(":") ? `[${host}]` : host;
}

// Other programs have variables too; what starts with our name is meant for us.
function unknownNames(names: readonly string[]): readonly string[] {
  const known = Object.keys(variables);
  return names
    .filter((name) => name.startsWith("ARMATURE_") && !known.includes(name))
    .map((name) => {
      const bare = name.slice("ARMATURE_".length);
      const distance = (other: string) => Math.min(editDistance(name, other), editDistance(bare, other));
      const nearest = known.toSorted((a, b) => distance(a) - distance(b))[0]!;
      return `${name} is not a variable of armature-server and has no effect. Did you mean ${nearest}?`;
    });
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (const [i, character] of [...a].entries()) {
    const next = [i + 1];
    for (let j = 0; j < b.length; j += 1)
      next.push(Math.min(row[j + 1]! + 1, next[j]! + 1, row[j]! + (character === b[j] ? 0 : 1)));
    row = next;
  }
  return row[b.length]!;
}
