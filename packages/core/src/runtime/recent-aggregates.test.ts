import { afterEach, expect, test } from "vitest";
import { z } from "zod";
import { inMemory } from "../in-memory/index.ts";
import { AggregateRoot, defineAggregate } from "../kernel/aggregate.ts";
import { defineContext } from "../kernel/context.ts";
import { command, defineContract, query } from "../kernel/contract.ts";
import { defineEvent, type EventOf } from "../kernel/event.ts";
import type { ExecutionDefinition } from "../kernel/execution.ts";
import type { Store } from "../kernel/store.ts";
import { fixedClock } from "../testing/fixed-clock.ts";
import { recordingLogger } from "../testing/recording-logger.ts";
import type { Armature } from "./armature.ts";
import { createArmature } from "./create-armature.ts";

const Added = defineEvent("guest.added", { version: 1, data: z.strictObject({ name: z.string() }) });
type State = { readonly names: readonly string[] };
class Guests extends AggregateRoot<State, EventOf<typeof Added>> {
  static readonly definition = defineAggregate("guests", {
    state: z.strictObject({ names: z.array(z.string().trim().toLowerCase()) }),
    events: [Added],
  });
  add(name: string) {
    this.raise(Added, { name });
  }
  protected override evolve(state: State | undefined, { data }: EventOf<typeof Added>) {
    return { names: [...(state?.names ?? []), data.name] };
  }
}
const party = defineContract(
  "party",
  {
    begin: command({ input: z.strictObject({ id: z.string() }), permission: "party:write", summary: "Begins one." }),
    tell: command({ input: z.strictObject({ id: z.string() }), permission: "party:write", summary: "Signals one." }),
    invite: command({
      input: z.strictObject({ name: z.string() }),
      output: z.strictObject({ invited: z.boolean() }),
      permission: "party:write",
      summary: "Invites somebody, once.",
    }),
    empty: command({
      input: z.strictObject({}),
      output: z.boolean(),
      permission: "party:write",
      summary: "Whether nobody is invited.",
    }),
    guests: query({
      input: z.strictObject({}),
      output: z.array(z.string()),
      permission: "party:read",
      summary: "Guests.",
    }),
  },
  { events: [Added] },
);

const open: Armature[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((app) => app.close()));
});

const activities = { invite: { operation: "party.invite" }, empty: { operation: "party.empty" } };
async function started(run: ExecutionDefinition["run"]) {
  const clock = fixedClock("2026-01-01T00:00:00.000Z");
  const store = inMemory({ clock });
  let lost = 0;
  const counting = new Proxy(store, {
    get: (target, key) => {
      const found = (target as never)[key] as unknown;
      if (key !== "commit") return typeof found === "function" ? (found as () => void).bind(target) : found;
      return (...args: Parameters<Store["commit"]>) =>
        target.commit(...args).catch((error: unknown) => {
          lost += 1;
          throw error;
        });
    },
  });
  const app = await createArmature({
    ...{ store: counting, clock, logger: recordingLogger(), authorizer: () => true },
    contexts: [
      defineContext(party, {
        aggregates: [Guests],
        executions: [{ name: "trial", version: 1, activities, run }],
        handlers: {
          begin: ({ id }, ctx) => ctx.executions.start({ name: "trial", version: 1 }, id, null),
          tell: ({ id }, ctx) => ctx.executions.signal(id, "go", null),
          invite: async ({ name }, ctx) => {
            const guests = (await ctx.tryLoad(Guests, "all")) ?? ctx.add(new Guests("all"));
            if (guests.version > 0 && guests.state.names.includes(name.trim().toLowerCase())) return { invited: false };
            guests.add(name);
            return { invited: true };
          },
          empty: async (_, ctx) => (await ctx.tryLoad(Guests, "all")) === undefined,
          guests: async (_, ctx) => [...((await ctx.tryLoad(Guests, "all"))?.state.names ?? [])],
        },
      }),
    ],
    keyEncryptionKey: Buffer.alloc(32, 1).toString("base64"),
    executions: { pollMs: 600_000 },
  });
  open.push(app);
  return { app, acme: app.as({ tenant: "acme", user: "ann" }).party, lost: () => lost };
}

test("what a command of an execution has left is what the next one would load: as the schema reads it", async () => {
  const { app, acme } = await started(async (ctx) => {
    for (const name of ["al", "Bo", "Bo"]) await ctx.activity("invite", { name });
    return null;
  });
  await acme.begin({ id: "p1" });
  await app.settled();
  expect(await acme.guests({})).toEqual(["al", "bo"]);
});

test("what a command of an execution has looked for in vain is not missed any more once another one has made it", async () => {
  const { app, acme, lost } = await started(async (ctx) => {
    await ctx.activity("empty", {});
    for (const name of ["al", "bo"]) await ctx.activity("invite", { name });
    return null;
  });
  await acme.begin({ id: "p2" });
  await app.settled();
  expect({ lost: lost(), guests: await acme.guests({}) }).toEqual({ lost: 0, guests: ["al", "bo"] });
});
