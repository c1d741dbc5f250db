import { z } from "zod";
import { InvalidInput, NotFound } from "../../kernel/errors.ts";
import { type DeadLetter, type DeadLetterQuery, headOf, type LetterChange, sequenceOf } from "../../kernel/outbox.ts";
import type { EventQuery, Page, Scope, StoredEvent } from "../../kernel/store.ts";

/** Where dead letters are, and what is done about them. */
export interface DeadLetterSources {
  /** The contexts that run in this process. */
  readonly contexts: readonly string[];
  /** Types of the events that each consumer in this process handles. */
  readonly consumers: () => ReadonlyMap<string, readonly string[]>;
  /** What consumers handled from then on is known; milliseconds since 1970. */
  readonly knownSince: () => number;
  readonly deadLetters: (scope: Scope, query: DeadLetterQuery) => Promise<Page<DeadLetter>>;
  readonly events: (tenant: string, query: EventQuery) => Promise<Page<StoredEvent>>;
  /** Makes the decision part of the commit of the command that `ctx` belongs to. */
  readonly decide: (ctx: object, context: string, change: LetterChange) => void;
}

interface LetterRef {
  readonly context: string;
  readonly consumer: string;
  readonly messageId: string;
}

const cursorSchema = z.tuple([z.string(), z.string().nullable()]);

/** Pages over the dead letters of several contexts, one context after the other. */
export async function listLetters(
  { contexts, deadLetters }: DeadLetterSources,
  tenant: string,
  query: {
    readonly context?: string | undefined;
    readonly consumer?: string | undefined;
    readonly limit: number;
    readonly after?: string | undefined;
  },
) {
  const { context, consumer, limit } = query;
  const asked = contexts.filter((name) => context === undefined || name === context).toSorted();
  const [from, behind] = query.after === undefined ? [undefined, null] : decodeCursor(query.after);
  const items: DeadLetter[] = [];
  for (const name of asked) {
    if (from !== undefined && name < from) continue;
    const after = name === from && behind !== null ? behind : undefined;
    if (items.length === limit) return { items: items.map(letterView), next: encodeCursor(name, after) };
    const page = await deadLetters({ tenant, context: name }, { consumer, limit: limit - items.length, after });
    items.push(...page.items);
    if (page.next !== undefined) return { items: items.map(letterView), next: encodeCursor(name, page.next) };
  }
  return { items: items.map(letterView) };
}

/** @throws {NotFound} nothing like it is parked, or somebody has decided about it already */
export async function letterOf({ contexts, deadLetters }: DeadLetterSources, tenant: string, ref: LetterRef) {
  const { context, consumer, messageId } = ref;
  const found = contexts.includes(context)
    ? await deadLetters({ tenant, context }, { consumer, messageId, limit: 1 })
    : { items: [] };
  const [letter] = found.items;
  if (letter === undefined) throw new NotFound({ type: "dead letter", id: messageId });
  return letter;
}

/** What `redeliver` does: the events of one page, as the decision about them. */
export async function pageToRedeliver(
  { contexts, consumers, events, knownSince }: DeadLetterSources,
  tenant: string,
  input: {
    readonly context: string;
    readonly consumer: string;
    readonly since: string;
    readonly after?: string | undefined;
    readonly limit: number;
  },
) {
  const types = consumers().get(input.consumer);
  if (types === undefined || !contexts.includes(input.context))
    throw new NotFound({ type: "consumer", id: input.consumer });
  if (Date.parse(input.since) < knownSince()) {
    const message = "is before the time from which on it is known what consumers have handled (retention)";
    throw new InvalidInput({ subject: "The redelivery", issues: [{ path: "since", message }] });
  }
  const { items, next } = await events(tenant, {
    contexts: [input.context],
    types,
    direction: "asc",
    above: `evt_${ulidOf(Date.parse(input.since))}`,
    limit: input.limit,
    after: input.after,
  });
  return { ids: items.map(({ id }) => id), next };
}

export function letterView({ context, consumer, message, reason, attempts, time }: DeadLetter) {
  const { id: messageId } = headOf(message);
  const { kind } = message;
  const rest = { reason, attempts, parkedAt: time };
  if (message.kind === "command")
    return { context, consumer, messageId, kind, type: message.command.operation, ...rest };
  const { type, aggregateVersion: version } = message.event;
  return { context, consumer, messageId, kind, type, aggregate: { ...sequenceOf(message), version }, ...rest };
}

// The first id of a millisecond: ids of events begin with their time.
function ulidOf(milliseconds: number): string {
  const digits = "0123456789abcdefghjkmnpqrstvwxyz";
  let text = "";
  for (let left = Math.max(0, milliseconds), at = 0; at < 10; at += 1, left = Math.floor(left / 32))
    text = digits[left % 32]! + text;
  return text;
}

function encodeCursor(context: string, after: string | undefined): string {
  return Buffer.from(JSON.stringify([context, after ?? null])).toString("base64url");
}

function decodeCursor(text: string): z.infer<typeof cursorSchema> {
  try {
    return cursorSchema.parse(JSON.parse(Buffer.from(text, "base64url").toString("utf8")));
  } catch {
    throw new InvalidInput({ subject: "The cursor", issues: [{ path: "after", message: "is not one of this list" }] });
  }
}
