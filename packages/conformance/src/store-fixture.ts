import {
  type AggregateChange,
  type AggregateRef,
  type AuditRow,
  type Claim,
  type CommitPart,
  type CommitResult,
  encodeIndexValue,
  everyPartition,
  headOf,
  type IndexValue,
  type JsonObject,
  type OutboxEntry,
  PARTITIONS,
  type Page,
  type SentCommand,
  type Store,
  type StoredContext,
  type StoredEvent,
  sequenceOf,
  systemClock,
  systemIds,
} from "@armature/core";
import { expect } from "vitest";

export const ALPHA = "conformance_alpha";
export const BETA = "conformance_beta";

export const contexts: readonly StoredContext[] = [
  {
    name: ALPHA,
    aggregates: [
      { type: "order", index: ["status", "total"] },
      { type: "note", index: [] },
      { type: "shared", index: [] },
    ],
    projections: [{ name: "indexed", index: ["city", "n"] }],
  },
  {
    name: BETA,
    aggregates: [
      { type: "ledger", index: ["balance"] },
      { type: "shared", index: [] },
    ],
  },
];

const ids = systemIds(systemClock());
export const newId = (prefix: string) => ids.next(prefix);

/** Index values as the runtime hands them to a store. */
export function index(values: Readonly<Record<string, IndexValue>>): Record<string, string> {
  return Object.fromEntries(Object.entries(values).map(([field, value]) => [field, encodeIndexValue(value)]));
}

export function part(context: string, more: Partial<CommitPart> = {}): CommitPart {
  return { context, aggregates: [], events: [], messages: [], audit: [], ...more };
}

export function written(
  ref: AggregateRef,
  expectedVersion: number,
  more: { readonly state?: JsonObject; readonly index?: Record<string, string>; readonly version?: number } = {},
): AggregateChange {
  const { state = { id: ref.id }, index: fields = {}, version = expectedVersion + 1 } = more;
  return { ...ref, expectedVersion, write: { version, stateVersion: 1, state, index: fields } };
}

export function event(
  tenant: string,
  context: string,
  ref: AggregateRef,
  aggregateVersion: number,
  more: Partial<StoredEvent> = {},
): StoredEvent {
  return {
    id: newId("evt"),
    tenant,
    context,
    type: `${ref.type}.changed`,
    version: 1,
    aggregateType: ref.type,
    aggregateId: ref.id,
    aggregateVersion,
    time: "2026-01-02T03:04:05.678Z",
    data: { to: aggregateVersion },
    actor: { type: "user", id: "ann" },
    correlationId: "cor_1",
    causationId: "call_1",
    traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    ...more,
  };
}

export function command(tenant: string, context: string, more: Partial<SentCommand> = {}): SentCommand {
  return {
    id: newId("cmd"),
    tenant,
    context,
    operation: "notifications.deliver",
    input: { to: "ann" },
    time: "2026-01-02T03:04:05.678Z",
    actor: { type: "service", id: "importer" },
    correlationId: "cor_1",
    causationId: "call_1",
    traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    ...more,
  };
}

export function auditRow(tenant: string, context: string, more: Partial<AuditRow> = {}): AuditRow {
  return {
    id: newId("aud"),
    tenant,
    context,
    time: "2026-01-02T03:04:05.678Z",
    actor: { type: "user", id: "ann" },
    operation: "orders.change",
    outcome: "succeeded",
    input: {},
    correlationId: "cor_1",
    traceId: "0af7651916cd43dd8448eb211c80319c",
    ...more,
  };
}

/** Commits one aggregate with an event for each of its new versions. */
export async function save(
  store: Store,
  tenant: string,
  context: string,
  ref: AggregateRef,
  expectedVersion: number,
  more: Parameters<typeof written>[2] & { readonly part?: Partial<CommitPart> } = {},
): Promise<CommitResult> {
  const change = written(ref, expectedVersion, more);
  const events: StoredEvent[] = [];
  for (let version = expectedVersion + 1; version <= change.write!.version; version += 1)
    events.push(event(tenant, context, ref, version));
  return store.commit(tenant, { parts: [part(context, { aggregates: [change], events, ...more.part })] });
}

/** All items of a listing, page by page; fails when a page is too long, or empty but not the last. */
export async function allPages<T>(
  limit: number,
  read: (page: { readonly limit: number; readonly after?: string }) => Promise<Page<T>>,
): Promise<T[]> {
  const items: T[] = [];
  for (let after: string | undefined; ; ) {
    const page: Page<T> = await read({ limit, ...(after === undefined ? {} : { after }) });
    expect(page.items.length).toBeLessThanOrEqual(limit);
    items.push(...page.items);
    if (page.next === undefined) return items;
    expect(page.items.length, "a page that is not the last is full").toBe(limit);
    after = page.next;
  }
}

/** One pass over a context's outbox: the tenant's entries. */
export async function outboxOf(store: Store, context: string, tenant: string, limit = 100): Promise<OutboxEntry[]> {
  const found: OutboxEntry[] = [];
  let cursors = everyPartition;
  while (cursors.length > 0) {
    const entries = await store.outbox.read(context, { cursors, limit });
    found.push(...entries.filter(({ message }) => headOf(message).tenant === tenant));
    cursors = cursors.flatMap(({ partition }) => {
      const read = entries.filter((entry) => entry.partition === partition);
      return read.length === limit ? [{ partition, after: read.at(-1)!.position }] : [];
    });
  }
  return found.sort((a, b) => Number(a.position) - Number(b.position));
}

/** All partitions of an outbox, taken from whoever has them: a claim in tests is for the moment. */
export async function claimAll(store: Store, context: string, member = "test"): Promise<readonly Claim[]> {
  const { claims } = await store.outbox.claim(context, { member, ttlMs: 60_000, now: Date.now() });
  expect(claims, "somebody else has claims").toHaveLength(PARTITIONS);
  return claims;
}

/** The event inside an entry. */
export function eventIn(entry: Pick<OutboxEntry, "message"> | undefined): StoredEvent {
  if (entry?.message.kind !== "event") throw new Error("The entry holds no event.");
  return entry.message.event;
}

export async function removeAll(store: Store, context: string, entries: readonly OutboxEntry[]): Promise<void> {
  const claims = await claimAll(store, context);
  expect(await store.outbox.settle(context, claims, { published: [], finished: entries })).toEqual([]);
}

/** Has what a consumer has parked of a sequence delivered again; how many that are. */
export async function retry(
  store: Store,
  tenant: string,
  context: string,
  consumer: string,
  sequence: AggregateRef,
): Promise<number> {
  const { items } = await store.deadLetters({ tenant, context }, { consumer, limit: 200 });
  const parked = items.filter(({ message }) => {
    const { type, id } = sequenceOf(message);
    return type === sequence.type && id === sequence.id;
  });
  try {
    await store.commit(tenant, { parts: [part(context, { letters: [{ step: "retry", consumer, sequence }] })] });
    return parked.length;
  } catch (error) {
    expect([parked.length, error]).toMatchObject([0, { code: "version_conflict" }]);
    return 0;
  }
}

/** Texts that are not the cursor of any listing. */
export const garbageCursors = [
  "",
  " ",
  "x",
  "1",
  "null",
  "%00",
  "'; drop table events; --",
  "../../etc/passwd",
  "ÿþ",
  "a".repeat(5_000),
  Buffer.from("null").toString("base64url"),
  Buffer.from("{}").toString("base64url"),
  Buffer.from("[]").toString("base64url"),
  Buffer.from('["find"]').toString("base64url"),
  Buffer.from('[1,2,3,{"a":null}]').toString("base64url"),
  Buffer.from('{"v":1,"k":["x"]}').toString("base64url"),
  Buffer.from([0xff, 0xfe, 0x00]).toString("base64url"),
];
