import { postgres } from "@armature/adapter-postgres";
import {
  command,
  createArmature,
  defineContext,
  defineContract,
  defineError,
  type ExecutionContext,
  query,
} from "@armature/core";
import { expect, test } from "vitest";
import { z } from "zod";
import { dropAll, freshDatabase } from "../packages/adapter-postgres/src/fresh-database.ts";
import { keyEncryptionKey, postgresPlace } from "./scenarios/place.ts";

class Refused extends defineError("outside.refused", {
  kind: "unavailable",
  details: z.object({ said: z.string() }),
  message: ({ said }) => `The other side said: ${said}`,
}) {}

const trials = defineContract("trials", {
  begin: command({
    input: z.strictObject({ id: z.string(), definition: z.string() }),
    permission: "trials:write",
    summary: "Begins an execution.",
  }),
  look: query({
    input: z.strictObject({ id: z.string() }),
    output: z.strictObject({ status: z.string(), length: z.number(), attempts: z.number() }),
    permission: "trials:read",
    summary: "Looks at one.",
  }),
});

test.each([
  ["what the other side says in an error", "send"],
  ["a sleep that no database has a number for", "sleep"],
])(
  "%s cannot keep an execution, or those of other tenants beside it, from being written",
  async (_, does) => {
    const place = await postgresPlace.make();
    let sent = 0;
    let innocent = 0;
    const odd = {
      name: "odd",
      version: 1,
      activities: {
        send: {
          retry: { attempts: 1 },
          run: () => {
            sent += 1;
            throw new Refused({ said: "no\u0000" });
          },
        },
      },
      run: (ctx: ExecutionContext) => (does === "send" ? ctx.activity("send", null) : ctx.sleep(1e21)),
    };
    const fine = {
      name: "fine",
      version: 1,
      activities: {
        charge: {
          run: async () => {
            innocent += 1;
          },
        },
      },
      run: (ctx: ExecutionContext) => ctx.activity("charge", null),
    };
    const context = defineContext(trials, {
      executions: [odd, fine] as never,
      handlers: {
        begin: ({ id, definition }, ctx) => ctx.executions.start({ name: definition, version: 1 }, id, null),
        look: async ({ id }, ctx) => {
          const found = await ctx.executions.get(id);
          return { status: found?.status ?? "unknown", length: found?.length ?? 0, attempts: 0 };
        },
      },
    });
    const store = await place.open();
    let doubts = 0;
    const quiet = () => undefined;
    const logger = {
      ...{ debug: quiet, info: quiet, error: quiet },
      warn: (message: string) => {
        if (message.includes("gone on with later")) doubts += 1;
      },
    };
    const app = await createArmature({ store, logger, authorizer: () => true, contexts: [context], keyEncryptionKey });
    await app.migrate();
    try {
      const acme = app.as({ tenant: "acme", user: "ann" }).trials;
      const other = app.as({ tenant: "other", user: "bob" }).trials;
      await Promise.all([
        acme.begin({ id: "o1", definition: "odd" }),
        ...Array.from({ length: 20 }, (_, i) => other.begin({ id: `f${i}`, definition: "fine" })),
      ]);
      await app.settled();
      const { status } = await acme.look({ id: "o1" });
      expect({ sent, innocent, doubts, status }).toEqual({
        ...{ sent: does === "send" ? 1 : 0, innocent: 20, doubts: 0 },
        status: does === "send" ? "failed" : expect.stringMatching(/running|failed/),
      });
    } finally {
      await app.close();
      await place.close();
    }
  },
  60_000,
);

const quick = { name: "quick", version: 1, activities: {}, run: async () => "done" };
const quickContext = defineContext(trials, {
  executions: [quick] as never,
  handlers: {
    begin: ({ id, definition }, ctx) => ctx.executions.start({ name: definition, version: 1 }, id, null),
    look: async ({ id }, ctx) => {
      const found = await ctx.executions.get(id);
      return { status: found?.status ?? "unknown", length: found?.length ?? 0, attempts: 0 };
    },
  },
});
const base = { authorizer: () => true, contexts: [quickContext] as const, keyEncryptionKey };
const rarely = { pollMs: 600_000, leaseMs: 600_000 };

test("what a host's transaction begins is gone on with as soon as it is committed", async () => {
  const database = await freshDatabase();
  const app = await createArmature({
    ...base,
    store: postgres({ pool: database.pool, rolePrefix: database.name }),
    executions: rarely,
  });
  try {
    await app.migrate();
    await app.settled();
    const acme = app.as({ tenant: "acme", user: "ann" });
    const client = await database.pool.connect();
    await client.query("BEGIN");
    await acme.within(client, (own) => own.trials.begin({ id: "q1", definition: "quick" }));
    await client.query("COMMIT");
    client.release();
    await expect.poll(async () => (await acme.trials.look({ id: "q1" })).status, { timeout: 10_000 }).toBe("completed");
  } finally {
    await app.close();
    await dropAll([database]);
  }
}, 60_000);

test("what one process begins, or signals, another goes on with at once", async () => {
  const place = await postgresPlace.make();
  const first = await createArmature({ ...base, store: await place.open(), executions: false });
  await first.migrate();
  const second = await createArmature({ ...base, store: await place.open(), executions: rarely, relay: false });
  try {
    await second.settled();
    const acme = first.as({ tenant: "acme", user: "ann" });
    let begun = 0;
    // Until it listens, nobody is told.
    const begin = async () => {
      begun += 1;
      await acme.trials.begin({ id: `q${begun}`, definition: "quick" });
      return (await acme.trials.look({ id: "q1" })).status;
    };
    await expect.poll(begin, { timeout: 10_000 }).toBe("completed");
  } finally {
    await Promise.all([first.close(), second.close()]);
    await place.close();
  }
}, 60_000);

class Busy extends defineError("trials.busy", {
  kind: "unavailable",
  details: z.object({ retryAfterMs: z.number() }),
  message: () => "Busy.",
}) {}
const busyContract = defineContract("trials", {
  begin: trials.operations.begin,
  look: trials.operations.look,
  book: command({ input: z.strictObject({}), permission: "trials:write", summary: "Books.", errors: [Busy] }),
});

test.each([["an activity"], ["a joined command"]])(
  "an error of %s that says to ask again in an age does not stop its worker, or repeat without end",
  async (what) => {
    const place = await postgresPlace.make();
    let tried = 0;
    const refuse = () => {
      tried += 1;
      throw new Busy({ retryAfterMs: 1e21 });
    };
    const book = what === "an activity" ? { run: refuse } : { operation: "trials.book" };
    const busy = {
      name: "busy",
      version: 1,
      activities: { book },
      run: (ctx: ExecutionContext) => ctx.activity("book", {}),
    };
    const context = defineContext(busyContract, {
      executions: [busy, quick] as never,
      handlers: {
        begin: ({ id, definition }, ctx) => ctx.executions.start({ name: definition, version: 1 }, id, null),
        book: refuse,
        look: async ({ id }, ctx) => {
          const found = await ctx.executions.get(id);
          return { status: found?.status ?? "unknown", length: found?.length ?? 0, attempts: 0 };
        },
      },
    });
    const app = await createArmature({
      ...{ store: await place.open(), authorizer: () => true, contexts: [context], keyEncryptionKey },
      logger: { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} },
    });
    try {
      await app.migrate();
      const acme = app.as({ tenant: "acme", user: "ann" }).trials;
      const other = app.as({ tenant: "other", user: "bob" }).trials;
      await acme.begin({ id: "b1", definition: "busy" });
      await app.settled();
      await other.begin({ id: "q1", definition: "quick" });
      await app.settled();
      const { status } = await other.look({ id: "q1" });
      expect({ innocent: status, tried }).toEqual({ innocent: "completed", tried: 1 });
    } finally {
      await app.close();
      await place.close();
    }
  },
  60_000,
);
