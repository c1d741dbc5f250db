import { headOf } from "../kernel/outbox.ts";
import type { PruneQuery } from "../kernel/retention.ts";
import type { SentCommand } from "../kernel/sent-command.ts";
import { type IdempotencyRow, keyOf, type Tables } from "./tables.ts";

/** Clocks of processes differ, and a record can look older than the command that it is of. */
const CLOCKS_DIFFER_MS = 86_400_000;

/** Forgets what nothing can ask for any more: `Store.prune`. */
export function prune(all: Tables, context: string, { olderThanMs, limit, inbox }: PruneQuery, now: number): number {
  const tables = all.context(context);
  const cutoff = now - olderThanMs;
  const { messages, commands } = unfinishedIn(all);
  let removed = 0;
  for (const [message, consumers] of inbox ? all.inbox : []) {
    if (messages.has(message)) continue;
    for (const [consumer, row] of consumers) {
      if (removed === limit) return removed;
      if (row.context !== context || row.handledAt > cutoff) continue;
      consumers.delete(consumer);
      removed += 1;
    }
    if (consumers.size === 0) all.inbox.delete(message);
  }
  for (const [place, row] of tables.idempotency) {
    if (removed === limit) return removed;
    const [tenant = ""] = place.split("\u0000");
    const sentAt = commands.get(keyOf(tenant, row.record.key.split(" ", 1)[0]!)) ?? Number.POSITIVE_INFINITY;
    if (!isOver(row, cutoff) || sentAt <= row.createdAt + CLOCKS_DIFFER_MS) continue;
    tables.idempotency.delete(place);
    removed += 1;
  }
  return removed;
}

function isOver({ record, createdAt }: IdempotencyRow, cutoff: number): boolean {
  return createdAt <= cutoff && record.claimedUntil <= cutoff;
}

/** Messages that wait or are parked, and when the first of each operation's sent commands among them was sent. */
function unfinishedIn(all: Tables) {
  const messages = new Set<string>();
  const commands = new Map<string, number>();
  const note = ({ tenant, operation, time }: SentCommand) => {
    const key = keyOf(tenant, operation);
    commands.set(key, Math.min(commands.get(key) ?? Number.POSITIVE_INFINITY, Date.parse(time)));
  };
  for (const { outbox, parked } of all.all) {
    const waiting = outbox.flatMap((rows) => [...rows.values()].map(({ message }) => message));
    const letters = [...parked.values()].flatMap((sequence) => [...sequence.letters.values()]);
    for (const message of [...waiting, ...letters.map(({ letter }) => letter.message)]) {
      const { tenant, id } = headOf(message);
      messages.add(keyOf(tenant, id));
      if (message.kind === "command") note(message.command);
    }
  }
  return { messages, commands };
}
