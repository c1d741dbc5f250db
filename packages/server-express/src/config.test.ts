import { describe, expect, test } from "vitest";
import { ConfigInvalid, readConfig } from "./config.ts";

const ARMATURE_KEY = Buffer.alloc(32, 7).toString("base64");

function sentences(env: Record<string, string>): readonly string[] {
  try {
    readConfig({ ARMATURE_KEY, ...env });
  } catch (error) {
    if (error instanceof ConfigInvalid) return error.sentences;
    throw error;
  }
  return [];
}

describe("the environment", () => {
  test("needs a key and nothing else", () => {
    expect(readConfig({ ARMATURE_KEY, PATH: "/bin" })).toEqual({
      config: {
        host: "127.0.0.1",
        port: 3000,
        publicUrl: "http://127.0.0.1:3000",
        store: { type: "pglite", dataDir: "./armature-data" },
        redisUrl: undefined,
        key: ARMATURE_KEY,
        hostModule: undefined,
        allowedOrigins: [],
        returnOrigins: [],
        allowSecretReveal: false,
        logLevel: "info",
        bodyLimit: 1024 * 1024,
        maxTimeoutMs: 120_000,
        shutdownTimeoutMs: 25_000,
        docs: true,
        compression: true,
        requireIdempotencyKey: false,
        corsOrigins: [],
        trustedProxies: [],
        rateLimits: { address: 6_000, failures: 30, key: 6_000, tenant: 30_000 },
        hstsSeconds: 0,
      },
      warnings: [],
    });
  });

  test("may say everything", () => {
    const { config } = readConfig({
      ARMATURE_KEY: ` ${ARMATURE_KEY}\n`,
      HOST: "0.0.0.0",
      PORT: "80",
      PUBLIC_URL: "https://api.example.com/armature/",
      DATABASE_URL: "postgresql://app:pw@db/armature",
      MIGRATION_DATABASE_URL: "postgres://admin:pw@db/armature",
      DATABASE_POOL_SIZE: "25",
      REDIS_URL: "rediss://app:pw@redis/1",
      TOKEN_KEYS: `${ARMATURE_KEY}, ${ARMATURE_KEY}`,
      ARMATURE_CONFIG: "./host.ts",
      ALLOWED_ORIGINS: "http://127.0.0.1:4000, https://crm.internal",
      RETURN_ORIGINS: "https://app.example.com/",
      ALLOW_SECRET_REVEAL: "true",
      LOG_LEVEL: "debug",
      BODY_LIMIT: "512kb",
      MAX_TIMEOUT_MS: "5000",
      SHUTDOWN_TIMEOUT_MS: "0",
      API_DOCS: "false",
      COMPRESSION: "false",
      REQUIRE_IDEMPOTENCY_KEY: "true",
      CORS_ORIGINS: "https://app.example.com, http://localhost:5173",
      TRUSTED_PROXIES: "loopback, 10.0.0.0/8",
      RATE_LIMIT_ADDRESS: "0",
      RATE_LIMIT_FAILURES: "5",
      RATE_LIMIT_KEY: "100",
      RATE_LIMIT_TENANT: "1000",
    });
    expect(config).toEqual({
      host: "0.0.0.0",
      port: 80,
      publicUrl: "https://api.example.com/armature",
      store: {
        type: "postgres",
        url: "postgresql://app:pw@db/armature",
        migrationUrl: "postgres://admin:pw@db/armature",
        poolSize: 25,
      },
      redisUrl: "rediss://app:pw@redis/1",
      key: ARMATURE_KEY,
      tokenKeys: [ARMATURE_KEY, ARMATURE_KEY],
      hostModule: "./host.ts",
      allowedOrigins: ["http://127.0.0.1:4000", "https://crm.internal"],
      returnOrigins: ["https://app.example.com"],
      allowSecretReveal: true,
      logLevel: "debug",
      bodyLimit: 512 * 1024,
      maxTimeoutMs: 5000,
      shutdownTimeoutMs: 0,
      docs: false,
      compression: false,
      requireIdempotencyKey: true,
      corsOrigins: ["https://app.example.com", "http://localhost:5173"],
      trustedProxies: ["loopback", "10.0.0.0/8"],
      rateLimits: { address: 0, failures: 5, key: 100, tenant: 1000 },
      hstsSeconds: 15_552_000,
    });
  });

  test("with an empty variable is as without it", () => {
    expect(readConfig({ ARMATURE_KEY, PORT: "", DATABASE_URL: " " }).config.port).toBe(3000);
  });

  test("has a public address that a browser on the same machine can use", () => {
    expect(readConfig({ ARMATURE_KEY, HOST: "0.0.0.0" }).config.publicUrl).toBe("http://localhost:3000");
    expect(readConfig({ ARMATURE_KEY, HOST: "::1", PORT: "8080" }).config.publicUrl).toBe("http://[::1]:8080");
  });

  test.each([
    ["PORT", "http", "PORT must be a whole number from 0 to 65535, for example 3000."],
    ["PORT", "65536", "PORT must be a whole number from 0 to 65535, for example 3000."],
    ["PORT", "-1", "PORT must be a whole number from 0 to 65535, for example 3000."],
    ["HOST", "http://x", "HOST must be a host name or address to listen on, for example 127.0.0.1."],
    [
      "PUBLIC_URL",
      "api.example.com",
      "PUBLIC_URL must be the http or https address that clients use, without a query string, for example https://api.example.com.",
    ],
    [
      "DATABASE_URL",
      "mysql://root:hunter2@db/x",
      "DATABASE_URL must be a PostgreSQL address, for example postgres://armature:password@127.0.0.1:5432/armature.",
    ],
    [
      "TOKEN_KEYS",
      "hunter2",
      "TOKEN_KEYS must be keys of 32 bytes in base64 with commas between them, for example the output of `openssl rand -base64 32`.",
    ],
    [
      "ARMATURE_KEY",
      "hunter2",
      "ARMATURE_KEY must be 32 bytes in base64, for example the output of `openssl rand -base64 32`.",
    ],
    [
      "RETURN_ORIGINS",
      "https://app.example.com/path",
      "RETURN_ORIGINS must be origins (scheme, host and port) with commas between them, for example https://app.example.com.",
    ],
    ["ALLOW_SECRET_REVEAL", "yes", "ALLOW_SECRET_REVEAL must be true or false, for example false."],
    [
      "METRICS_ADDRESS",
      "9464",
      "METRICS_ADDRESS must be a host and a port of its own, not the API's, for example 127.0.0.1:9464.",
    ],
    ["LOG_LEVEL", "loud", "LOG_LEVEL must be one of debug, info, warn, error, silent, for example info."],
    ["BODY_LIMIT", "1gb", "BODY_LIMIT must be a number of bytes, or of kb or mb, up to 100mb, for example 1mb."],
    ["BODY_LIMIT", "0", "BODY_LIMIT must be a number of bytes, or of kb or mb, up to 100mb, for example 1mb."],
  ])("with a wrong %s (%s) says so in a sentence, without the value", (name, value, sentence) => {
    expect(sentences({ [name]: value })).toEqual([sentence]);
  });

  test("with several mistakes names all of them", () => {
    expect(sentences({ PORT: "x", LOG_LEVEL: "x" })).toHaveLength(2);
  });

  test("without a key says how to make one", () => {
    expect(() => readConfig({})).toThrow("ARMATURE_KEY is missing");
  });

  test("with two stores says that one of them must go", () => {
    expect(sentences({ DATABASE_URL: "postgres://db/x", DATA_DIR: "./data" })[0]).toContain("are both set");
    expect(sentences({ MIGRATION_DATABASE_URL: "postgres://db/x" })[0]).toContain("needs DATABASE_URL");
  });

  test("with a variable that looks like ours and is not names the one that was meant", () => {
    expect(readConfig({ ARMATURE_KEY, ARMATURE_CONFG: "x", ARMATURE_PORT: "1" }).warnings).toEqual([
      "ARMATURE_CONFG is not a variable of armature-server and has no effect. Did you mean ARMATURE_CONFIG?",
      "ARMATURE_PORT is not a variable of armature-server and has no effect. Did you mean PORT?",
    ]);
  });
});
