import { z } from "zod";
import { type logLevels, variables } from "./config-variables.ts";

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
  readonly redisUrl: string | undefined;
  /** 32 bytes in base64. */
  readonly key: string;
  /** The same for principal tokens; the first one signs. */
  readonly tokenKeys: readonly [string, ...string[]] | undefined;
  /** Path of the host's module. */
  readonly hostModule: string | undefined;
  readonly allowedOrigins: readonly string[];
  readonly returnOrigins: readonly string[];
  readonly allowSecretReveal: boolean;
  /** Where Prometheus finds the metrics. */
  readonly metrics: { readonly host: string; readonly port: number } | undefined;
  readonly logLevel: (typeof logLevels)[number];
  /** Bytes. */
  readonly bodyLimit: number;
  readonly maxTimeoutMs: number;
  readonly shutdownTimeoutMs: number;
  readonly docs: boolean;
  readonly compression: boolean;
  readonly requireIdempotencyKey: boolean;
  /** Origins whose pages may call the API. */
  readonly corsOrigins: readonly string[] | "*";
  readonly trustedProxies: readonly string[];
  /** Requests a minute; 0 is any number. */
  readonly rateLimits: Readonly<Record<"address" | "failures" | "key" | "tenant", number>>;
  readonly hstsSeconds: number;
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
  const publicUrl = read.PUBLIC_URL ?? `http://${isAnyAddress(host) ? "localhost" : inUrl(host)}:${port}`;
  return {
    config: {
      host,
      port,
      publicUrl,
      store:
        read.DATABASE_URL === undefined
          ? { type: "pglite", dataDir: read.DATA_DIR ?? "./armature-data" }
          : {
              type: "postgres",
              url: read.DATABASE_URL,
              migrationUrl: read.MIGRATION_DATABASE_URL,
              poolSize: read.DATABASE_POOL_SIZE ?? 10,
            },
      redisUrl: read.REDIS_URL,
      key: read.ARMATURE_KEY!,
      tokenKeys: read.TOKEN_KEYS,
      hostModule: read.ARMATURE_CONFIG,
      allowedOrigins: read.ALLOWED_ORIGINS ?? [],
      returnOrigins: read.RETURN_ORIGINS ?? [],
      allowSecretReveal: read.ALLOW_SECRET_REVEAL ?? false,
      metrics: read.METRICS_ADDRESS,
      logLevel: read.LOG_LEVEL ?? "info",
      bodyLimit: read.BODY_LIMIT ?? 1024 * 1024,
      maxTimeoutMs: read.MAX_TIMEOUT_MS ?? 120_000,
      shutdownTimeoutMs: read.SHUTDOWN_TIMEOUT_MS ?? 25_000,
      docs: read.API_DOCS ?? true,
      compression: read.COMPRESSION ?? true,
      requireIdempotencyKey: read.REQUIRE_IDEMPOTENCY_KEY ?? false,
      corsOrigins: read.CORS_ORIGINS ?? [],
      trustedProxies: read.TRUSTED_PROXIES ?? [],
      rateLimits: {
        address: read.RATE_LIMIT_ADDRESS ?? 6_000,
        failures: read.RATE_LIMIT_FAILURES ?? 30,
        key: read.RATE_LIMIT_KEY ?? 6_000,
        tenant: read.RATE_LIMIT_TENANT ?? 30_000,
      },
      hstsSeconds: read.HSTS_SECONDS ?? (publicUrl.startsWith("https:") ? HALF_A_YEAR_S : 0),
    },
    warnings: unknownNames(Object.keys(env)),
  };
}

const HALF_A_YEAR_S = 15_552_000;

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
