import type { ContextDefinition } from "../../kernel/context.ts";
import { type PrincipalInput, toPrincipal } from "../../kernel/principal.ts";
import type { SentCommand } from "../../kernel/sent-command.ts";
import type { CommitPart, StoredEvent } from "../../kernel/store.ts";
import type { TimerChange } from "../../kernel/timers.ts";
import { recordKey } from "../../runtime/call.ts";
import { FAULT_USER, type FaultCall } from "./fault-calls.ts";
import type { FaultLedger } from "./fault-ledger.ts";
import type { FaultConsumer } from "./fault-scenario.ts";
import type { FaultTrace } from "./fault-trace.ts";

/** What is compared once everything has settled. */
export interface Evidence {
  readonly contexts: readonly ContextDefinition[];
  readonly consumers: readonly FaultConsumer[];
  readonly calls: readonly FaultCall[];
  readonly ledger: FaultLedger;
  /** All events in the store, by tenant. */
  readonly log: ReadonlyMap<string, readonly StoredEvent[]>;
}

/** What must hold for every scenario, whatever has gone wrong. Order was looked at when things were delivered. */
export function checkInvariants(evidence: Evidence, trace: FaultTrace): void {
  const parts = evidence.ledger.commits.flatMap(({ tenant, commit }) =>
    commit.parts.map((part): OwnPart => ({ ...part, tenant })),
  );
  checkCalls(evidence, parts, trace);
  checkSent(evidence, parts, trace);
  checkLog(evidence, parts, trace);
  checkEffects(evidence, parts, trace);
  checkBus(evidence, trace);
}

type OwnPart = CommitPart & { readonly tenant: string };

function checkCalls({ calls, contexts, log }: Evidence, parts: readonly OwnPart[], trace: FaultTrace): void {
  const settled = countSettled(parts);
  for (const { key, tenant, operation, outcome } of calls) {
    if (operationKind(contexts, operation) === "query") continue;
    const principal = toPrincipal({ tenant, user: FAULT_USER } satisfies PrincipalInput);
    const times = settled.get(`${tenant} ${recordKey(operation, principal, key)}`) ?? 0;
    if (outcome === "acknowledged" && times === 0)
      trace.violation("nothing acknowledged is lost", `${key} (${operation}) was acknowledged and never committed`);
    if (times > 1)
      trace.violation("a repeated call has its effect once", `${key} (${operation}) was committed ${times} times`);
    if (outcome !== "refused") continue;
    const made = (log.get(tenant) ?? []).filter(({ correlationId }) => correlationId === key);
    if (times > 0 || made.length > 0)
      trace.violation(
        "what was refused leaves nothing",
        `${key} (${operation}) was refused and made ${made.length} events`,
      );
  }
}

function checkSent({ ledger }: Evidence, parts: readonly OwnPart[], trace: FaultTrace): void {
  const settled = countSettled(parts);
  for (const { messages, timers = [] } of parts)
    for (const sent of [...messages, ...timers.flatMap(delayedIn)]) {
      const times = settled.get(`${sent.tenant} ${recordKey(sent.operation, senderOf(sent), sent.id)}`) ?? 0;
      if (times > 1) trace.violation("a sent command runs once", `${sent.operation} ${sent.id} ran ${times} times`);
      if (times === 0 && !ledger.refused.has(sent.id))
        trace.violation("nothing sent is lost", `${sent.operation} ${sent.id} never ran`);
    }
}

function delayedIn(change: TimerChange): readonly SentCommand[] {
  return change.step === "set" && change.timer.recurrence === undefined ? [change.timer.command] : [];
}

function senderOf({ tenant, actor, onBehalfOf, limitedTo, credential }: SentCommand) {
  return { tenant, actor, onBehalfOf, limitedTo, credential };
}

function checkLog({ log }: Evidence, parts: readonly OwnPart[], trace: FaultTrace): void {
  const committed = new Map(parts.flatMap(({ events }) => events.map((event) => [event.id, event] as const)));
  const stored = [...log.values()].flat();
  const found = new Set(stored.map(({ id }) => id));
  for (const [id, { type, aggregateId, aggregateVersion }] of committed)
    if (!found.has(id))
      trace.violation(
        "nothing acknowledged is lost",
        `${type} ${aggregateId}@${aggregateVersion} was committed and is not in the log`,
      );
  for (const { id, type } of stored)
    if (!committed.has(id))
      trace.violation("what was refused leaves nothing", `${type} ${id} is in the log and was never committed`);
  for (const [key, events] of Map.groupBy(
    stored,
    (event) => `${event.tenant} ${event.aggregateType}/${event.aggregateId}`,
  )) {
    const versions = events.map(({ aggregateVersion }) => aggregateVersion).sort((a, b) => a - b);
    if (versions.some((version, at) => version !== at + 1))
      trace.violation("versions have no gap", `${key} has the versions ${versions.join(", ")}`);
  }
}

function checkEffects({ contexts, log }: Evidence, parts: readonly OwnPart[], trace: FaultTrace): void {
  const effects = new Map<string, number>();
  for (const { inbox, tenant } of parts) {
    if (inbox === undefined) continue;
    const key = `${tenant} ${inbox.consumer} ${inbox.messageId}`;
    effects.set(key, (effects.get(key) ?? 0) + 1);
  }
  const subscriptions = contexts.flatMap((context) => context.subscriptions);
  for (const [tenant, events] of log)
    for (const { id, type, aggregateId, aggregateVersion } of events)
      for (const { consumer } of subscriptions.filter(({ event }) => event.type === type)) {
        const times = effects.get(`${tenant} ${consumer} ${id}`) ?? 0;
        const what = `${type} ${aggregateId}@${aggregateVersion} (${id})`;
        if (times === 0) trace.violation("nothing acknowledged is lost", `${consumer} never handled ${what}`);
        if (times > 1)
          trace.violation("one effect per consumer and event", `${consumer} handled ${what} ${times} times`);
      }
}

function checkBus({ consumers, ledger, log }: Evidence, trace: FaultTrace): void {
  for (const event of [...log.values()].flat()) {
    const what = `${event.type} ${event.aggregateId}@${event.aggregateVersion} (${event.id})`;
    if (!ledger.published.has(event.id)) trace.violation("every event reaches the bus", `${what} was never published`);
    for (const { group, sources } of consumers)
      if (sources.includes(`/contexts/${event.context}`) && !ledger.consumed.has(`${group} ${event.id}`))
        trace.violation("nothing acknowledged is lost", `${group} never handled ${what}`);
  }
}

// How often each idempotency record was settled: that is when its call has had its effect.
function countSettled(parts: readonly OwnPart[]): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const { idempotency, tenant } of parts) {
    if (idempotency?.step !== "settle") continue;
    const key = `${tenant} ${idempotency.key}`;
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  return counts;
}

function operationKind(contexts: readonly ContextDefinition[], id: string): string | undefined {
  const [context, name] = id.split(".");
  return contexts.find(({ contract }) => contract.name === context)?.contract.operations[name!]?.kind;
}
