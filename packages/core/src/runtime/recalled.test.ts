import { afterEach, expect, test } from "vitest";
import { z } from "zod";
import { inMemory } from "../in-memory/index.ts";
import { AggregateRoot, defineAggregate } from "../kernel/aggregate.ts";
import { atomic, defineContext } from "../kernel/context.ts";
import { command, defineContract } from "../kernel/contract.ts";
import { Forbidden } from "../kernel/errors.ts";
import { defineEvent, type EventOf } from "../kernel/event.ts";
import type { ExecutionDefinition } from "../kernel/execution.ts";
import { type FixedClock, fixedClock } from "../testing/fixed-clock.ts";
import { recordingLogger } from "../testing/recording-logger.ts";
import type { Armature } from "./armature.ts";
import { createArmature } from "./create-armature.ts";

const Taken = defineEvent("seat.taken", {
  version: 1,
  data: z.strictObject({ name: z.string(), seat: z.int().optional() }),
});
const state = z.strictObject({ seats: z.record(z.string(), z.int().optional()) });
class Hall extends AggregateRoot<z.infer<typeof state>, EventOf<typeof Taken>> {
  static readonly definition = defineAggregate("hall", { state, events: [Taken] });
  take(name: string, seat: number | undefined) {
    this.raise(Taken, { name, seat });
  }
  protected override evolve(before: z.infer<typeof state> | undefined, { data }: EventOf<typeof Taken>) {
    return { seats: { ...before?.seats, [data.name]: data.seat } };
  }
}

const nothing = z.strictObject({});
const id = z.strictObject({ id: z.string() });
const of = { permission: "hall:write", summary: "Does it." } as const;
const guard = defineContract("guard", { refuse: command({ input: nothing, ...of, permission: "guard:write" }) });
const hall = defineContract(
  "hall",
  {
    begin: command({ input: id, ...of }),
    tell: command({ input: id, ...of }),
    take: command({ input: z.strictObject({ name: z.string(), seat: z.int().optional() }), ...of }),
    empty: command({ input: nothing, output: z.boolean(), ...of }),
    enter: command({ input: nothing, ...of }),
    count: command({ input: nothing, output: z.int(), ...of }),
    ask: command({ input: nothing, ...of }),
  },
  { events: [Taken] },
);

const open: Armature[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((app) => app.close()));
});

const names = ["take", "empty", "enter", "count", "ask"];
const activities = Object.fromEntries(names.map((name) => [name, { operation: `hall.${name}` }]));

interface Beside {
  readonly clock: FixedClock;
  readonly store: ReturnType<typeof inMemory>;
}

/** @param beside another process, which works on the executions */
async function started(run: ExecutionDefinition["run"], beside?: Beside) {
  const clock = beside?.clock ?? fixedClock();
  const store = beside?.store ?? inMemory({ clock });
  const app = await createArmature({
    ...{ store, clock, logger: recordingLogger(), authorizer: () => true },
    contexts: [
      defineContext(guard, {
        handlers: {
          refuse: () => {
            throw new Forbidden({ permission: "hall:enter" });
          },
        },
      }),
      defineContext(hall, {
        dependsOn: [atomic(guard)],
        aggregates: [Hall],
        executions: [{ name: "trial", version: 1, activities, run }],
        handlers: {
          begin: (given, ctx) => ctx.executions.start({ name: "trial", version: 1 }, given.id, null),
          tell: (given, ctx) => ctx.executions.signal(given.id, "go", null),
          take: async ({ name, seat }, ctx) => {
            ((await ctx.tryLoad(Hall, "all")) ?? ctx.add(new Hall("all"))).take(name, seat);
          },
          empty: async (_, ctx) => (await ctx.tryLoad(Hall, "all")) === undefined,
          enter: async (_, ctx) => {
            const all = (await ctx.tryLoad(Hall, "all")) ?? ctx.add(new Hall("all"));
            if (all.version === 0) throw new Forbidden({ permission: "hall:enter" });
          },
          count: async (_, ctx) => Object.keys((await ctx.tryLoad(Hall, "all"))?.state.seats ?? {}).length,
          ask: async (_, ctx) => {
            await ctx.tryLoad(Hall, "all");
            await ctx.use(guard).refuse({});
          },
        },
      }),
    ],
    keyEncryptionKey: Buffer.alloc(32, 1).toString("base64"),
    executions: beside === undefined ? { pollMs: 600_000 } : false,
  });
  open.push(app);
  return { app, clock, store, acme: app.as({ tenant: "acme", user: "ann" }) };
}

test("members that are undefined are not remembered: no store keeps them", async () => {
  let counted: unknown;
  const { app, acme } = await started(async (ctx) => {
    for (const taken of [{ name: "al", seat: 1 }, { name: "bo", seat: 2 }, { name: "bo" }])
      await ctx.activity("take", taken);
    counted = await ctx.activity("count", {});
    return null;
  });
  await acme.hall.begin({ id: "h1" });
  await app.settled();
  expect([counted, await acme.hall.count({})]).toEqual([1, 1]);
});

test("what is refused since something was not there yet is asked again", async () => {
  const ends: unknown[] = [];
  const one = await started(async (ctx) => {
    await ctx.activity("empty", {});
    await ctx.waitForSignal("go");
    ends.push(await ctx.activity("enter", {}).then(() => "entered", String));
    return null;
  });
  const other = await started(async () => null, one);
  await one.acme.hall.begin({ id: "h2" });
  await one.app.settled();
  await other.acme.hall.take({ name: "al", seat: 1 });
  await one.acme.hall.tell({ id: "h2" });
  await one.app.settled();
  expect(ends).toEqual(["entered"]);
});

test("a refusal by another context stands in the audit once", async () => {
  const { app, acme } = await started(async (ctx) => {
    await ctx.activity("take", { name: "al", seat: 1 });
    await ctx.activity("ask", {}).catch(() => undefined);
    return null;
  });
  await acme.hall.begin({ id: "h3" });
  await app.settled();
  const { items } = await acme.audit.list({});
  const refused = items.filter(({ outcome }) => outcome !== "succeeded");
  expect(refused.map(({ operation }) => operation)).toEqual(["hall.ask", "guard.refuse"]);
});
