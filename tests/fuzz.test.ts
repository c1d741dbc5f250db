import { callHash, createArmature, type Json, type OperationDescription } from "@armature/core";
import { inMemory } from "@armature/core/in-memory";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type FreshDatabase, freshDatabase, withoutServer } from "../packages/adapter-postgres/src/fresh-database.ts";
import { type FuzzRequest, requestsOf } from "./fuzz/requests.ts";
import { Serving } from "./load/serving.ts";

const REQUESTS = Number(process.env["FUZZ_REQUESTS"] ?? 20_000);
/** For what has never come out right by then. */
const MOST_REQUESTS = REQUESTS * 1.2;
const SEED = Number(process.env["FUZZ_SEED"] ?? 20_261_121);
const AT_ONCE = 16;
const LONGEST_MS = 20_000;
/** Requests after which caches and pools have their size. */
const WARM = 0.4;
const MOST_GROWTH_BYTES = 16 * 1024 * 1024;

describe.skipIf(await withoutServer())("every operation over HTTP, on PostgreSQL", () => {
  let database: FreshDatabase;
  let serving: Serving;
  let operations: readonly OperationDescription[];

  beforeAll(async () => {
    database = await freshDatabase();
    serving = await Serving.start({ DATABASE_URL: database.url });
    const app = await createArmature({ store: inMemory() });
    operations = app.operations.filter(({ operation }) => operation.http !== undefined);
    await app.close();
  });

  afterAll(async () => {
    await serving?.kill();
    await database?.close();
  });

  test(`answers ${REQUESTS} requests, good, nearly good and hostile: never with a 500, never late, and without growing`, async () => {
    let key = await serving.key();
    // What no schema says: which providers, actions, roles and permissions there are.
    const seen = new Map<string, Json[]>([
      ["provider", ["crm"]],
      ["action", ["listContacts", "createContact"]],
      ["input", [{}, { name: "Ann" }, { limit: 3 }, "Ring the bell.", "And again."]],
      ["workflow", ["waiting", "failing"]],
      ["signal", ["paid"]],
      ["recurrence", [{ everyMs: 86_400_000 }, { cron: "0 9 * * *" }]],
      ["agent", Array.from({ length: 60 }, (_, n) => `ringer-${n}`)],
      ["models", [["quick"]]],
      ["tools", [[], ["bells_ringLater"]]],
      ["limits", [{}, { steps: 2 }]],
      ["onBehalfOf", [{ type: "service", id: key.account }]],
      ["budget", Array.from({ length: 5 }, (_, n) => `agent.ringer-${n}`)],
      ["roles", [[], ["owner"]]],
      ["permissions", [["audit:read"], ["connectors:*", "identity:read"]]],
      ["limitedTo", [["audit:read"], ["*"]]],
      ["account", [{ type: "service", id: key.account }]],
      ["accountType", ["service"]],
      ["accountId", [key.account]],
      ["context", ["bells", "identity"]],
      ["consumer", ["bells.greet"]],
      ["since", ["2026-01-01T00:00:00.000Z"]],
      ["arguments", [{}, { name: "Ann" }]],
      ["hash", [callHash("listContacts", {})]],
      ["inputSchema", [{ type: "object" }]],
      ["expiresAt", [new Date(Date.now() + 86_400_000).toISOString()]],
    ]);
    const tally = { statuses: new Map<number, number>(), succeeded: new Map<string, number>(), slowest: 0 };
    const bad: string[] = [];
    let begun = 0;
    let warm = 0;

    const never = () => operations.filter(({ id }) => !tally.succeeded.has(id) && !UNREACHED.includes(id));
    // Made in rounds, since later ones use what earlier ones have brought to light.
    const round = 40;
    for (let seed = SEED; begun < REQUESTS || (begun < MOST_REQUESTS && never().length > 0); seed += 1) {
      // What is seldom right by chance is tried more often.
      const tried = begun < REQUESTS ? operations : never();
      seen.set("connectorId", [...(seen.get("connectorId") ?? []).slice(-10), ...(await serving.connectors())]);
      seen.set("approvalId", [...(seen.get("approvalId") ?? []).slice(-8), ...(await serving.approvals())]);
      seen.set("executionId", [...(seen.get("executionId") ?? []).slice(-10), ...(await serving.executions())]);
      seen.set("runId", [...(seen.get("runId") ?? []).slice(-10), ...(await serving.runs())]);
      // One that a secret can have, often enough to be asked for again.
      seen.set("name", [...(seen.get("name") ?? []).slice(-12), "smtp", "smtp", "smtp"]);
      // The host's, and some that the tenant has made.
      const own = (seen.get("agent") ?? []).filter((id) => String(id).startsWith("agt_")).slice(-20);
      seen.set("agent", [...Array.from({ length: 60 }, (_, n) => `ringer-${n}`), ...own]);
      seen.set("key", [...(await serving.scheduled())]);
      const inOrder = tried.flatMap((operation) => fc.sample(requestsOf(operation, seen), { numRuns: round, seed }));
      const shuffled = fc.shuffledSubarray(inOrder, { minLength: inOrder.length });
      const [requests = []] = fc.sample(shuffled, { numRuns: 1, seed });
      begun += requests.length;
      const queue = requests.values();
      const worker = async () => {
        for (const request of queue) {
          const used = key;
          const answer = await send(serving.origin, used.key, request);
          tally.statuses.set(answer.status, (tally.statuses.get(answer.status) ?? 0) + 1);
          tally.slowest = Math.max(tally.slowest, answer.ms);
          if (answer.status < 300)
            tally.succeeded.set(request.operation, (tally.succeeded.get(request.operation) ?? 0) + 1);
          const wrong = defectOf(answer, request);
          if (wrong !== undefined)
            bad.push(`${wrong}\n${JSON.stringify({ seed, ...request }).slice(0, 2_000)}\n${answer.text.slice(0, 500)}`);
          if (answer.json !== undefined) remember(seen, answer.json);
          // It may have disabled itself, given up its roles, or revoked its own key.
          if ((answer.status === 401 || answer.status === 403) && used === key) key = await serving.key();
        }
      };
      await Promise.all(Array.from({ length: AT_ONCE }, worker));
      if (warm === 0 && begun >= REQUESTS * WARM) warm = (await serving.memory()).heapUsed;
      if (bad.length > 0) break;
    }

    expect(bad.slice(0, 3).join("\n\n")).toBe("");
    expect(serving.failures.slice(0, 3)).toEqual([]);
    expect(serving.running).toBe(true);
    const { heapUsed, rss } = await serving.memory();
    const statuses = Object.fromEntries([...tally.statuses].sort(([a], [b]) => a - b));
    const MB = (bytes: number) => `${(bytes / 1024 / 1024).toFixed(1)} MB`;
    console.info(
      `fuzz: ${begun} requests, statuses ${JSON.stringify(statuses)}, slowest ${Math.round(tally.slowest)} ms, ` +
        `heap ${MB(warm)} then ${MB(heapUsed)}, resident ${MB(rss)}`,
    );
    expect(heapUsed - warm).toBeLessThan(MOST_GROWTH_BYTES);
    // A fuzz that never gets past the door would find nothing.
    if (REQUESTS >= 20_000) expect(never().map(({ id }) => id)).toEqual([]);
  }, 900_000);
});

/** They need a signed state of an authorization, or a provider with OAuth. */
const UNREACHED = ["connectors.completeAuthorization", "connectors.authorize"];

interface Answer {
  readonly status: number;
  readonly type: string;
  readonly text: string;
  readonly json: Json | undefined;
  readonly ms: number;
}

async function send(origin: string, key: string, request: FuzzRequest): Promise<Answer> {
  const begun = performance.now();
  const response = await fetch(origin + request.path, {
    method: request.method,
    headers: { ...request.headers, "x-api-key": key },
    signal: AbortSignal.timeout(LONGEST_MS),
    redirect: "manual",
    ...(request.body === undefined ? {} : { body: Buffer.from(request.body, "utf8") }),
  });
  const text = await response.text();
  const type = response.headers.get("content-type") ?? "";
  let json: Json | undefined;
  try {
    json = /json\b/.test(type) ? (JSON.parse(text) as Json) : undefined;
  } catch {
    // said as a defect
  }
  return { status: response.status, type, text, json, ms: performance.now() - begun };
}

/** What is wrong with an answer, if anything. */
function defectOf({ status, type, text, json }: Answer, request: FuzzRequest): string | undefined {
  // What the provider or its rules say no to is a 502 or 503, and never a bare 500.
  if (status === 500 || status > 504) return `status ${status}`;
  if (status >= 400 && (!type.startsWith("application/problem+json") || json === undefined))
    return `status ${status} is no problem document but ${type}`;
  if (type.startsWith("application/json") && json === undefined) return "the body is no JSON";
  if (/\bat .*\.(ts|js):\d+|node:internal|SQLSTATE|syntax error at/.test(text)) return "the answer shows our insides";
  if (text.length > 20_000 + 3 * (request.body?.length ?? 0) && status >= 400)
    return "the refusal is longer than what it refuses";
  return undefined;
}

/** Fields of inputs that take what answers show under another name. */
const ALSO: Readonly<Record<string, readonly string[]>> = { next: ["after"], id: ["connectorId"] };

/** Keeps ids, cursors and names that answers show, by field. */
function remember(seen: Map<string, Json[]>, value: Json): void {
  if (value === null || typeof value !== "object") return;
  for (const [name, inner] of Object.entries(value)) {
    if (typeof inner === "string" && /^(.*Id|id|name|next|role|agent)$/.test(name)) {
      for (const field of ALSO[name] ?? [name]) {
        if (field === "connectorId" && !inner.startsWith("con_")) continue;
        const known = seen.get(field) ?? [];
        if (!known.includes(inner)) seen.set(field, [...known.slice(-20), inner]);
      }
    } else remember(seen, inner as Json);
  }
}
