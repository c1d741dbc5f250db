// Who may import whom. `tests/architecture.test.ts` enforces it; `pnpm exec depcruise packages` shows it by hand.
// "Tests" are files that end in `.test.ts`: where a rule lets them out, it says so.

const TEST = "\\.test\\.ts$";
const CORE = "^packages/core/src/";
const COMPOSITION_ROOT = `${CORE}runtime/composition-root\\.ts$`;

/** The package itself, wherever it was found: in a store of pnpm, or not found at all. */
const npm = (names) => ["^", "(?:^|/)node_modules/"].map((start) => `${start}(?:${names.join("|")})(?:/|$)`);

const NETWORK_BUILTINS = "^(?:node:)?(?:http|https|http2|tls|dgram|cluster)$";
const DRIVERS_AND_SERVERS = npm([
  ...["pg", "pg-[^/]+", "postgres", "mysql2?", "mongodb", "better-sqlite3", "kysely", "drizzle-orm", "knex"],
  ...["@electric-sql/[^/]+", "redis", "@redis/[^/]+", "ioredis", "amqplib", "nats", "@nats-io/[^/]+", "kafkajs"],
  ...["express", "fastify", "koa", "hono", "@hono/[^/]+", "@nestjs/[^/]+", "pino", "winston"],
]);

const rule = (name, comment, from, to) => ({ name, severity: "error", comment, from, to });

export default {
  forbidden: [
    rule(
      "context-imports-contract-only",
      "A context imports nothing of another context but its contract.ts. Tests may: they wire several contexts.",
      { path: `${CORE}contexts/([^/]+)/`, pathNot: TEST },
      { path: `${CORE}contexts/`, pathNot: [`${CORE}contexts/$1/`, `${CORE}contexts/[^/]+/contract\\.ts$`] },
    ),
    rule(
      "contract-imports-kernel-only",
      "A contract is made of the kernel and zod: what imports it must not drag a context along.",
      { path: `${CORE}contexts/[^/]+/contract\\.ts$` },
      { pathNot: [`${CORE}kernel/`, ...npm(["zod"])] },
    ),
    rule(
      "kernel-imports-kernel-only",
      "The kernel is the bottom: it knows neither contexts nor what carries them.",
      { path: `${CORE}kernel/`, pathNot: TEST },
      { path: "^packages/", pathNot: `${CORE}kernel/` },
    ),
    rule(
      "context-without-runtime",
      "A context sees what its handlers are given, never the machinery that calls them. Tests may start it.",
      { path: `${CORE}contexts/`, pathNot: TEST },
      { path: [`${CORE}(?:runtime|in-memory|testing)/`, `${CORE}index\\.ts$`] },
    ),
    rule(
      "core-without-drivers",
      "Core has no driver, no server and no socket. Its tests may start servers to call.",
      { path: CORE, pathNot: TEST },
      { path: [NETWORK_BUILTINS, ...DRIVERS_AND_SERVERS] },
    ),
    rule(
      "core-without-packages",
      "Core is below every other package. Its tests run the conformance suites.",
      { path: CORE, pathNot: TEST },
      { path: ["^packages/", "^@armature/"], pathNot: ["^packages/core/", "^@armature/core(?:/|$)"] },
    ),
    rule(
      "adapter-without-adapter",
      "Adapters do not know each other, nor the server: a host combines them.",
      { path: "^packages/(adapter-[^/]+)/" },
      {
        path: ["^packages/(?:adapter|server)-", "^@armature/(?:adapter|server)-"],
        pathNot: ["^packages/$1/", "^@armature/$1(?:/|$)"],
      },
    ),
    rule(
      "server-without-adapter",
      "A host that mounts the router brings its own adapters; only the bin chooses some. Tests may.",
      { path: "^packages/server-[^/]+/src/", pathNot: [TEST, "^packages/server-[^/]+/src/bin(?:\\.ts$|/)"] },
      { path: ["^packages/adapter-", "^@armature/adapter-"] },
    ),
    rule(
      "inversify-in-composition-root",
      "One file knows the container. Everything else gets what it needs as values.",
      { path: "^packages/", pathNot: COMPOSITION_ROOT },
      { path: npm(["inversify", "@inversifyjs/[^/]+", "reflect-metadata"]) },
    ),
    rule("no-cycle", "Files that import each other cannot be read, or tested, apart.", {}, { circular: true }),
    rule(
      "dependency-is-declared",
      "What a package imports stands in its package.json, or its users do not get it. Tests use the root's tools too.",
      { path: "^packages/[^/]+/src/", pathNot: TEST },
      { dependencyTypes: ["npm-no-pkg", "npm-unknown"] },
    ),
    rule(
      "published-code-without-dev-dependency",
      "A dev dependency is not installed with the package. Tests may use it.",
      { path: "^packages/[^/]+/src/", pathNot: TEST },
      { dependencyTypes: ["npm-dev"], dependencyTypesNot: ["npm", "npm-peer", "type-only"] },
    ),
    rule(
      "import-is-found",
      "An import that leads nowhere makes every other rule blind.",
      {},
      { couldNotResolve: true },
    ),
  ],
  options: {
    doNotFollow: { path: "node_modules" },
    exclude: { path: "/(?:dist|coverage)/" },
    tsConfig: { fileName: "tsconfig.json" },
    tsPreCompilationDeps: true,
    combinedDependencies: false,
    enhancedResolveOptions: {
      // Without the source condition the result depends on whether somebody has built the packages.
      conditionNames: ["@armature/source", "import", "types", "node", "default"],
      exportsFields: ["exports"],
      extensions: [".ts", ".mjs", ".js", ".d.ts"],
    },
  },
};
