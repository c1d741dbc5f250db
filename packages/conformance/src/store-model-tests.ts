import type { AggregateRef, Commit, CommitResult, Store } from "@armature/core";
import fc from "fast-check";
import { expect } from "vitest";
import { fresh } from "./expectations.ts";
import { ALPHA, auditRow, BETA, event, eventIn, outboxOf, part, written } from "./store-fixture.ts";
import type { RegisterTest } from "./suite.ts";

const CONTEXTS = [ALPHA, BETA] as const;
const NAMES = ["a", "b", "c"] as const;
const CONSUMER = "conformance.model";

/** One commit of a random history: which aggregates at which distance from their present version. */
interface Plan {
  readonly touches: readonly {
    readonly context: 0 | 1;
    readonly name: (typeof NAMES)[number];
    readonly drift: -1 | 0 | 1;
    readonly writes: boolean;
  }[];
  readonly key: number | undefined;
  readonly message: number | undefined;
}

type Status = CommitResult["status"] | "version_conflict";

/** What a store must be at any moment, in a few lines. */
interface Model {
  readonly versions: ReadonlyMap<string, number>;
  readonly keys: ReadonlySet<string>;
  readonly messages: ReadonlySet<string>;
}

interface Prepared {
  readonly commit: Commit;
  readonly touches: readonly { readonly place: string; readonly expected: number; readonly writes: boolean }[];
  readonly key: string | undefined;
  readonly message: string | undefined;
}

const plan: fc.Arbitrary<Plan> = fc.record({
  touches: fc.uniqueArray(
    fc.record({
      context: fc.constantFrom(0 as const, 1 as const),
      name: fc.constantFrom(...NAMES),
      drift: fc.oneof(
        { weight: 8, arbitrary: fc.constant(0 as const) },
        { weight: 1, arbitrary: fc.constantFrom(-1 as const, 1 as const) },
      ),
      writes: fc.oneof({ weight: 3, arbitrary: fc.constant(true) }, { weight: 1, arbitrary: fc.constant(false) }),
    }),
    { minLength: 1, maxLength: 3, selector: ({ context, name }) => `${context}/${name}` },
  ),
  key: fc.option(fc.integer({ min: 0, max: 5 }), { nil: undefined, freq: 3 }),
  message: fc.option(fc.integer({ min: 0, max: 5 }), { nil: undefined, freq: 3 }),
});

/** Random histories, several commits at a time, against a model. */
export function registerModelTests(test: RegisterTest, store: () => Store): void {
  test("whatever is committed at once, the outcome is that of some order in which it was done one after the other", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(plan, { minLength: 1, maxLength: 4 }), { minLength: 1, maxLength: 7 }),
        async (batches) => {
          const tenant = fresh("t");
          let model: Model = { versions: new Map(), keys: new Set(), messages: new Set() };
          let commits = 0;
          for (const [number, batch] of batches.entries()) {
            const prepared = batch.map((each, at) => prepare(tenant, model, each, `${number}.${at}`));
            const statuses = await Promise.all(prepared.map(({ commit }) => outcome(store(), tenant, commit)));
            model = explain(model, prepared, statuses);
            commits += statuses.filter((status) => status === "committed").length;
            await expectToMatch(store(), tenant, model);
          }
          await expectLog(store(), tenant, model, commits);
        },
      ),
      { numRuns: 30 },
    );
  }, 60_000);
}

function refOf(context: string, name: string): AggregateRef {
  return { type: context === ALPHA ? "order" : "ledger", id: name };
}

function prepare(tenant: string, model: Model, { touches, key, message }: Plan, label: string): Prepared {
  const resolved = touches.map((touch) => {
    const context = CONTEXTS[touch.context];
    const place = `${context}/${touch.name}`;
    const present = model.versions.get(place) ?? 0;
    return { ...touch, context, place, expected: Math.max(0, present + touch.drift) };
  });
  const parts = CONTEXTS.map((context, position) => {
    const here = resolved.filter((touch) => touch.context === context);
    return part(context, {
      aggregates: here.map(({ name, expected, writes }) =>
        writes
          ? written(refOf(context, name), expected, { state: { by: label } })
          : { ...refOf(context, name), expectedVersion: expected },
      ),
      events: here
        .filter(({ writes }) => writes)
        .map(({ name, expected }) =>
          event(tenant, context, refOf(context, name), expected + 1, { data: { by: label } }),
        ),
      audit: position === 0 ? [auditRow(tenant, context)] : [],
      ...(position === 0 && key !== undefined
        ? {
            idempotency: {
              step: "settle" as const,
              key: `key-${key}`,
              inputHash: "hash",
              attempt: 1,
              claimedUntil: 0,
              outcome: { type: "result" as const, value: label },
            },
          }
        : {}),
      ...(position === 1 && message !== undefined
        ? { inbox: { consumer: CONSUMER, messageId: `message-${message}` } }
        : {}),
    });
  });
  return {
    commit: { parts },
    touches: resolved,
    key: key === undefined ? undefined : `key-${key}`,
    message: message === undefined ? undefined : `message-${message}`,
  };
}

async function outcome(store: Store, tenant: string, commit: Commit): Promise<Status> {
  try {
    return (await store.commit(tenant, commit)).status;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "version_conflict") return "version_conflict";
    throw error;
  }
}

/** Why the model would refuse; empty when it would not. Which of several reasons is given is the store's to choose. */
function refusals(model: Model, { touches, key, message }: Prepared): Status[] {
  const reasons: Status[] = [];
  if (touches.some(({ place, expected }) => (model.versions.get(place) ?? 0) !== expected))
    reasons.push("version_conflict");
  if (key !== undefined && model.keys.has(key)) reasons.push("key-taken");
  if (message !== undefined && model.messages.has(message)) reasons.push("handled-before");
  return reasons;
}

function apply(model: Model, { touches, key, message }: Prepared): Model {
  const versions = new Map(model.versions);
  for (const { place, expected, writes } of touches) if (writes) versions.set(place, expected + 1);
  const keys = key === undefined ? model.keys : new Set([...model.keys, key]);
  const messages = message === undefined ? model.messages : new Set([...model.messages, message]);
  return { versions, keys, messages };
}

/** The model after these outcomes, if some order of the winners allows all of them; throws when none does. */
function explain(model: Model, prepared: readonly Prepared[], statuses: readonly Status[]): Model {
  const winners = prepared.filter((_, at) => statuses[at] === "committed");
  for (const order of permutations(winners)) {
    const moments = [model];
    for (const winner of order) {
      if (refusals(moments.at(-1)!, winner).length > 0) break;
      moments.push(apply(moments.at(-1)!, winner));
    }
    if (moments.length !== order.length + 1) continue;
    const losersExplained = prepared.every(
      (each, at) =>
        statuses[at] === "committed" || moments.some((moment) => refusals(moment, each).includes(statuses[at]!)),
    );
    if (losersExplained) return moments.at(-1)!;
  }
  throw new Error(
    `No order explains ${JSON.stringify(statuses)} of ${JSON.stringify(prepared.map((p) => p.touches))}.`,
  );
}

function permutations<T>(items: readonly T[]): T[][] {
  if (items.length <= 1) return [[...items]];
  return items.flatMap((first, at) => permutations(items.toSpliced(at, 1)).map((rest) => [first, ...rest]));
}

async function expectToMatch(store: Store, tenant: string, model: Model): Promise<void> {
  for (const context of CONTEXTS) {
    const loaded = await store.load(
      { tenant, context },
      NAMES.map((name) => refOf(context, name)),
    );
    expect(loaded.map((each) => each?.version ?? 0)).toEqual(
      NAMES.map((name) => model.versions.get(`${context}/${name}`) ?? 0),
    );
  }
}

/** History, outbox and audit tell the same as the states: nothing lost, nothing twice, nothing of what was refused. */
async function expectLog(store: Store, tenant: string, model: Model, commits: number): Promise<void> {
  for (const context of CONTEXTS) {
    const entries = await outboxOf(store, context, tenant);
    for (const name of NAMES) {
      const ref = refOf(context, name);
      const history = (await store.events(tenant, { contexts: [context], aggregate: ref, limit: 100 })).items;
      const count = model.versions.get(`${context}/${name}`) ?? 0;
      expect(history.map((each) => each.aggregateVersion)).toEqual(Array.from({ length: count }, (_, at) => at + 1));
      expect(entries.map(eventIn).filter((each) => each.aggregateId === name)).toEqual(history);
      const [present] = await store.load({ tenant, context }, [ref]);
      if (present !== undefined) expect(present.state).toEqual(history.at(-1)?.data);
    }
  }
  expect((await store.audit(tenant, { contexts: [ALPHA], limit: 200 })).items).toHaveLength(commits);
}
