import type { Clock } from "../../kernel/clock.ts";
import { type Claim, type ClaimedShare, headOf, type OutboxEntry } from "../../kernel/outbox.ts";
import type { ProjectionBatch } from "../../kernel/projection-store.ts";
import type { Commit } from "../../kernel/store.ts";
import type { StoreAdapter } from "../../kernel/store-adapter.ts";
import { wrappedPort } from "../wrapped-port.ts";

/**
 * Rules of the store that can be broken on purpose, to see that the machine finds it:
 *
 * - `inbox`: nobody remembers which consumer has handled which event
 * - `early-removal`: an entry leaves the outbox when it is read, before it was delivered
 * - `order`: a short page of the outbox is read back to front, so later entries go first
 * - `outbox-after-commit`: the outbox is written by the process after its commit, not with it
 * - `position`: how far a projection has read is written after its rows, not with them
 */
export type BrokenRule = "inbox" | "early-removal" | "order" | "outbox-after-commit" | "position";

/** Their names. */
export const brokenRules: readonly BrokenRule[] = [
  "inbox",
  "early-removal",
  "order",
  "outbox-after-commit",
  "position",
];

/** Ids of messages that no process has written into the outbox yet, by store. */
const unwritten = new WeakMap<StoreAdapter, Set<string>>();
const SECOND_WRITE_MS = 20;
/** Entries of a page that is not full whatever the number of its partitions: a reader goes on behind the last one. */
const SHORT = 8;

/** The store with one rule broken, for the process with this clock. */
export function broken(store: StoreAdapter, rule: BrokenRule, clock: Clock): StoreAdapter {
  const hidden = unwritten.get(store) ?? new Set<string>();
  unwritten.set(store, hidden);
  const held = new Map<string, readonly Claim[]>();
  return wrappedPort(store, (method, call, args) => {
    if (method === "commit") {
      const [tenant, commit] = args as readonly [string, Commit];
      if (rule === "inbox") return store.commit(tenant, forgetful(commit));
      if (rule === "outbox-after-commit") return twoWrites(call, commit, hidden, clock);
    }
    if (method === "outbox.claim")
      return (call as () => Promise<ClaimedShare>)().then((share) => {
        held.set(args[0] as string, share.claims);
        return share;
      });
    if (method === "projections.commit" && rule === "position") {
      const [context, batch] = args as readonly [string, ProjectionBatch];
      return rowsFirst(store, context, batch, clock);
    }
    if (method !== "outbox.read") return call();
    const read = call as () => Promise<readonly OutboxEntry[]>;
    const [context] = args as readonly [string];
    if (rule === "early-removal")
      return read().then(async (entries) => {
        if (entries.length > 0)
          await store.outbox.settle(context, held.get(context) ?? [], { published: [], finished: entries });
        return entries;
      });
    if (rule === "order") return read().then((entries) => (entries.length < SHORT ? entries.toReversed() : entries));
    if (rule === "outbox-after-commit")
      return read().then((entries) => entries.filter(({ message }) => !hidden.has(headOf(message).id)));
    return call();
  });
}

function forgetful(commit: Commit): Commit {
  return { parts: commit.parts.map(({ inbox: _forgotten, ...part }) => part) };
}

// Who dies in between never comes to the second.
async function twoWrites(call: () => unknown, commit: Commit, hidden: Set<string>, clock: Clock): Promise<unknown> {
  const ids = commit.parts.flatMap(({ events, messages }) => [...events, ...messages].map(({ id }) => id));
  for (const id of ids) hidden.add(id);
  const result = await call();
  void clock.sleep(SECOND_WRITE_MS).then(() => {
    for (const id of ids) hidden.delete(id);
  });
  return result;
}

// Whoever looks in between, or takes over from who has died there, applies the same events again.
async function rowsFirst(
  { projections }: StoreAdapter,
  context: string,
  batch: ProjectionBatch,
  clock: Clock,
): Promise<boolean> {
  const before = batch.before ?? {};
  const written = await projections.commit(context, { ...batch, positions: before });
  void clock.sleep(SECOND_WRITE_MS).then(() => projections.commit(context, { ...batch, before, rows: [] }));
  return written;
}
