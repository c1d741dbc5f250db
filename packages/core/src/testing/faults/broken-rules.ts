import type { Clock } from "../../kernel/clock.ts";
import type { Commit, OutboxEntry } from "../../kernel/store.ts";
import type { StoreAdapter } from "../../kernel/store-adapter.ts";
import { wrappedPort } from "../wrapped-port.ts";

/**
 * Rules of the store that can be broken on purpose, to see that the machine finds it:
 *
 * - `inbox`: nobody remembers which consumer has handled which event
 * - `early-removal`: an entry leaves the outbox when it is read, before it was delivered
 * - `order`: an entry that failed is out of sight until it is tried again, so later ones go first
 * - `outbox-after-commit`: the outbox is written by the process after its commit, not with it
 */
export type BrokenRule = "inbox" | "early-removal" | "order" | "outbox-after-commit";

/** Their names. */
export const brokenRules: readonly BrokenRule[] = ["inbox", "early-removal", "order", "outbox-after-commit"];

/** Ids of messages that no process has written into the outbox yet, by store. */
const unwritten = new WeakMap<StoreAdapter, Set<string>>();
const SECOND_WRITE_MS = 20;

/** The store with one rule broken, for the process with this clock. */
export function broken(store: StoreAdapter, rule: BrokenRule, clock: Clock): StoreAdapter {
  const hidden = unwritten.get(store) ?? new Set<string>();
  unwritten.set(store, hidden);
  return wrappedPort(store, (method, call, args) => {
    if (method === "commit") {
      const [tenant, commit] = args as readonly [string, Commit];
      if (rule === "inbox") return store.commit(tenant, forgetful(commit));
      if (rule === "outbox-after-commit") return twoWrites(call, commit, hidden, clock);
    }
    if (method !== "outbox.read") return call();
    const read = call as () => Promise<readonly OutboxEntry[]>;
    const [context] = args as readonly [string];
    if (rule === "early-removal")
      return read().then(async (entries) => {
        if (entries.length > 0)
          await store.outbox.remove(
            context,
            entries.map(({ position }) => position),
          );
        return entries;
      });
    if (rule === "order") return read().then((entries) => entries.filter((entry) => !failing(entry, clock)));
    if (rule === "outbox-after-commit")
      return read().then((entries) => entries.filter(({ message }) => !hidden.has(idOf(message))));
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

function failing({ failures }: OutboxEntry, clock: Clock): boolean {
  return failures.some(({ nextAt }) => nextAt > clock.now());
}

function idOf(message: OutboxEntry["message"]): string {
  return message.kind === "event" ? message.event.id : message.command.id;
}
