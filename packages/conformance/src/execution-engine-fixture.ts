import {
  type ActivityContext,
  AggregateRoot,
  type ArmatureOptions,
  command,
  createArmature,
  defineAggregate,
  defineContext,
  defineContract,
  defineError,
  defineEvent,
  type EventOf,
  type ExecutionContext,
  type ExecutionDefinition,
  json,
  query,
} from "@armature/core";
import { vi } from "vitest";
import { z } from "zod";
import { fresh } from "./expectations.ts";
import type { RegisterTest } from "./suite.ts";

/** One process on an engine. */
export interface EngineProcess {
  /** What its `createArmature` is given. */
  readonly options: Pick<ArmatureOptions, "store" | "executions">;
  /** From now on nothing that it does reaches the engine. */
  kill?(): Promise<void>;
  /** Gives back what the application did not, once that is closed. */
  close?(): Promise<void>;
}

export interface ExecutionEngineSetup {
  /** Opens a process. Each call gives one more on the same executions; stores too may be shared. */
  open(): Promise<EngineProcess>;
}

const Noted = defineEvent("note.written", { version: 1, data: z.strictObject({ text: z.string() }) });
interface NotesState {
  readonly texts: readonly string[];
}
class Notes extends AggregateRoot<NotesState, EventOf<typeof Noted>> {
  static readonly definition = defineAggregate("notes", {
    state: z.strictObject({ texts: z.array(z.string()) }),
    events: [Noted],
  });
  write(text: string) {
    this.raise(Noted, { text });
  }
  protected override evolve(state: NotesState | undefined, { data }: EventOf<typeof Noted>): NotesState {
    return { texts: [...(state?.texts ?? []), data.text] };
  }
}
export class Refused extends defineError("trials.refused", {
  kind: "precondition",
  details: z.object({}),
  message: () => "Refused.",
}) {}

const one = z.strictObject({ id: z.string() });
const writing = { permission: "trials:write", summary: "Does something with an execution." } as const;
export const trials = defineContract(
  "trials",
  {
    begin: command({
      input: one.extend({ definition: z.string(), version: z.int().default(1), input: json.default(null) }),
      ...writing,
    }),
    beginAndFail: command({ input: one.extend({ definition: z.string() }), errors: [Refused], ...writing }),
    tell: command({ input: one.extend({ name: z.string(), payload: json.default(null) }), ...writing }),
    stop: command({ input: one, ...writing }),
    again: command({ input: one, ...writing }),
    note: command({
      input: z.strictObject({ text: z.string() }),
      output: z.strictObject({ count: z.int() }),
      errors: [Refused],
      ...writing,
    }),
    notes: query({
      input: z.strictObject({}),
      output: z.array(z.string()),
      permission: "trials:read",
      summary: "Shows what was noted.",
    }),
    ended: command({
      input: z.strictObject({
        executionId: z.string(),
        status: z.string(),
        result: json.optional(),
        error: json.optional(),
        retryable: z.boolean().optional(),
      }),
      permission: "internal",
      summary: "Hears how an execution ended.",
    }),
    look: query({
      input: one,
      output: z.strictObject({
        status: z.string(),
        result: json,
        error: z.object({ code: z.string(), message: z.string() }).optional(),
        history: z.array(z.string()),
      }),
      permission: "trials:read",
      summary: "Shows an execution.",
    }),
  },
  { events: [Noted] },
);

function trialsContext(executions: readonly ExecutionDefinition[]) {
  return defineContext(trials, {
    aggregates: [Notes],
    executions,
    handlers: {
      begin: ({ id, definition, version, input }, ctx) =>
        ctx.executions.start({ name: definition, version }, id, input),
      beginAndFail: ({ id, definition }, ctx) => {
        ctx.executions.start({ name: definition, version: 1 }, id, null);
        throw new Refused({});
      },
      tell: ({ id, name, payload }, ctx) => ctx.executions.signal(id, name, payload),
      stop: ({ id }, ctx) => ctx.executions.cancel(id, "no longer wanted"),
      again: ({ id }, ctx) => ctx.executions.retry(id),
      note: async ({ text }, ctx) => {
        if (text === "refused") throw new Refused({});
        const notes = (await ctx.tryLoad(Notes, "all")) ?? ctx.add(new Notes("all"));
        notes.write(text);
        return { count: notes.state.texts.length };
      },
      notes: async (_, ctx) => [...((await ctx.tryLoad(Notes, "all"))?.state.texts ?? [])],
      ended: async ({ executionId, status }, ctx) => {
        ((await ctx.tryLoad(Notes, "all")) ?? ctx.add(new Notes("all"))).write(`${executionId} ${status}`);
      },
      look: async ({ id }, ctx) => {
        const { status = "unknown", end } = (await ctx.executions.get(id)) ?? {};
        const { items } = await ctx.executions.history(id);
        return {
          status,
          result: end?.status === "completed" ? ((end.result ?? null) as never) : null,
          error: end === undefined || end.status === "completed" ? undefined : end.error,
          history: items.map(({ kind, name, outcome }) => `${kind} ${name}: ${outcome.type}`),
        };
      },
    },
  });
}

/** A definition whose activities are functions, tried again without a wait that a test would feel. */
export function definition(
  name: string,
  activities: Readonly<Record<string, (args: never, ctx: ActivityContext) => unknown>>,
  run: (ctx: ExecutionContext, input: never) => Promise<unknown>,
  { activities: others, ...more }: Partial<ExecutionDefinition> = {},
): ExecutionDefinition {
  const own = Object.entries(activities).map(([each, does]) => [each, { run: does, retry: { firstWaitMs: 5 } }]);
  return { name, version: 1, activities: { ...Object.fromEntries(own), ...others }, run: run as never, ...more };
}

/** What tests of an engine do; each with definitions and tenants of its own. */
export function onEngine(register: RegisterTest, setup: () => ExecutionEngineSetup) {
  let running: { close(): Promise<void> }[] = [];
  const test: RegisterTest = (name, run, timeoutMs = 20_000) =>
    register(
      name,
      async (context) => {
        try {
          await run(context);
        } finally {
          // One that was killed cannot say goodbye.
          await Promise.allSettled(running.map((each) => each.close()));
        }
      },
      timeoutMs,
    );
  /** A process that serves these definitions, as a user of this tenant sees it. */
  const serving = async (definitions: readonly ExecutionDefinition[], tenant = fresh("t")) => {
    const { options, kill, close: giveBack } = await setup().open();
    const app = await createArmature({
      ...options,
      authorizer: () => true,
      contexts: [trialsContext(definitions)],
      keyEncryptionKey: Buffer.alloc(32, 1).toString("base64"),
      // What a test brings down complains.
      logger: { debug() {}, info() {}, warn() {}, error() {} },
    });
    const process = {
      close: async () => {
        running = running.filter((each) => each !== process);
        await app.close().finally(giveBack);
      },
    };
    running.push(process);
    await app.migrate();
    const { trials: calls } = app.as({ tenant, user: "ann" });
    const until = async (id: string, status: string) =>
      vi.waitFor(
        async () => {
          const seen = await calls.look({ id });
          if (seen.status !== status) throw new Error(`It is ${seen.status}, not ${status}: ${JSON.stringify(seen)}`);
          return seen;
        },
        { timeout: 15_000, interval: 10 },
      );
    /** Waits until the journal has so many entries. */
    const untilLength = async (id: string, length: number) =>
      vi.waitFor(
        async () => {
          const { history } = await calls.look({ id });
          if (history.length < length) throw new Error(`Its journal has ${history.length} entries, not ${length}.`);
          return history;
        },
        { timeout: 15_000, interval: 10 },
      );
    return { app, calls, tenant, until, untilLength, close: process.close, kill };
  };
  return { test, serving };
}
