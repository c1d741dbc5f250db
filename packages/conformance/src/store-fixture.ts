import {
  type AggregateChange,
  type AggregateRef,
  type AuditRow,
  type CommitPart,
  type CommitResult,
  encodeIndexValue,
  type IndexValue,
  type JsonObject,
  type OutboxEntry,
  type Page,
  type SentCommand,
  type Store,
  type StoredContext,
  type StoredEvent,
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
  for (let after: string | undefined; ; ) {
    const entries = await store.outbox.read(context, { limit, ...(after === undefined ? {} : { after }) });
    found.push(...entries.filter(({ message }) => tenantOf(message) === tenant));
    if (entries.length < limit) return found;
    after = entries.at(-1)!.position;
  }
}

/** The event inside an entry. */
export function eventIn(entry: OutboxEntry | undefined): StoredEvent {
  if (entry?.message.kind !== "event") throw new Error("The entry holds no event.");
  return entry.message.event;
}

export function removeAll(store: Store, context: string, entries: readonly OutboxEntry[]): Promise<void> {
  return store.outbox.remove(
    context,
    entries.map(({ position }) => position),
  );
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

function tenantOf(message: OutboxEntry["message"]): string {
  return message.kind === "event" ? message.event.tenant : message.command.tenant;
}
