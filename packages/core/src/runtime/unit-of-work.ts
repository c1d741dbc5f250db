import {
  type AggregateClass,
  type AggregateRoot,
  pendingEvents,
  restoreAggregate,
  reviveAggregate,
  storedState,
} from "../kernel/aggregate.ts";
import { toInstant } from "../kernel/clock.ts";
import { AlreadyExists, InvalidInput, VersionMismatch } from "../kernel/errors.ts";
import type { ExecutionChange } from "../kernel/executions.ts";
import type { Ids } from "../kernel/ids.ts";
import type { LetterChange } from "../kernel/outbox.ts";
import type { SentCommand } from "../kernel/sent-command.ts";
import type {
  AggregateChange,
  AggregateRef,
  AuditRow,
  Commit,
  CommitPart,
  IdempotencyWrite,
  Store,
  StoredAggregate,
  StoredEvent,
} from "../kernel/store.ts";
import type { TimerChange } from "../kernel/timers.ts";
import { BatchedLoads } from "./batched-loads.ts";
import type { CallInfo } from "./call-info.ts";
import { placeOf, type RecentAggregates, type Touched } from "./recent-aggregates.ts";
import { assertStorable } from "./storable.ts";
import { newPart, type Part, type Tracked } from "./tracked.ts";

/** What the caller has seen of the aggregate that its call is about. */
interface Expectation {
  readonly context: string;
  readonly id: string | undefined;
  readonly version: number;
  met: boolean;
}

const keyOf = (ref: AggregateRef) => `${ref.type}/${ref.id}`;

/**
 * What one command has loaded and made, over all contexts that take part. Loads of one turn of the event loop go to
 * the store together; nothing is written before `toCommit`.
 */
export class UnitOfWork {
  readonly #loads: BatchedLoads;
  readonly #ids: Ids;
  readonly #call: CallInfo;
  readonly #parts = new Map<string, Part>();
  readonly #recent: RecentAggregates | undefined;
  #expectation: Expectation | undefined;
  #failure: unknown;

  /** @param recent where what is loaded is looked for first */
  constructor(store: Pick<Store, "load">, ids: Ids, call: CallInfo, recent?: RecentAggregates) {
    this.#loads = new BatchedLoads(store, call);
    this.#ids = ids;
    this.#call = call;
    this.#recent = recent;
  }

  /**
   * Refuses the call unless the first of the context's aggregates with this id that is loaded is at this version. Which
   * aggregates a command loads is the handler's to know: one that loads none with this id cannot be called so.
   */
  expect(context: string, id: string | undefined, version: number): void {
    this.#expectation = { context, id, version, met: false };
  }

  async load<A extends AggregateRoot>(context: string, type: AggregateClass<A>, id: string): Promise<A | undefined> {
    const part = this.#part(context);
    const ref = { type: type.definition.type, id };
    const key = keyOf(ref);
    let tracked = part.tracked.get(key);
    if (tracked === undefined) {
      const recent = part.found.has(key) ? undefined : this.#recall(context, ref, type);
      if (recent !== undefined) {
        part.settled.set(key, recent);
        part.tracked.set(key, Promise.resolve(recent));
        return recent.aggregate as A | undefined;
      }
      tracked = this.#loads.load(context, ref).then((stored): Tracked => {
        // In the meantime it may have been found, or made.
        const known = part.settled.get(key) ?? part.found.get(key);
        if (known !== undefined) {
          part.settled.set(key, known);
          return known;
        }
        const aggregate = stored === undefined ? undefined : restoreAggregate(new type(id), stored);
        const entry = { ref, loadedVersion: stored?.version ?? 0, aggregate };
        if (aggregate !== undefined) this.#compare(context, entry);
        part.settled.set(key, entry);
        return entry;
      });
      part.tracked.set(key, tracked);
    }
    return (await tracked).aggregate as A | undefined;
  }

  add<A extends AggregateRoot>(context: string, aggregate: A): A {
    const part = this.#part(context);
    const ref = { type: (aggregate.constructor as unknown as AggregateClass).definition.type, id: aggregate.id };
    const known = part.settled.get(keyOf(ref)) ?? part.found.get(keyOf(ref));
    if (known?.aggregate !== undefined && known.aggregate !== aggregate) throw new AlreadyExists(ref);
    // Whether it was there may be remembered wrongly.
    const entry: Tracked = { ref, loadedVersion: 0, aggregate, recalled: known?.recalled === true };
    part.settled.set(keyOf(ref), entry);
    part.tracked.set(keyOf(ref), Promise.resolve(entry));
    return aggregate;
  }

  /** An aggregate out of a search; what was loaded or found before is given as it stands. */
  found<A extends AggregateRoot>(context: string, type: AggregateClass<A>, stored: StoredAggregate): A {
    const part = this.#part(context);
    const ref = { type: stored.type, id: stored.id };
    const key = keyOf(ref);
    const known = (part.settled.get(key) ?? part.found.get(key))?.aggregate;
    if (known !== undefined) return known as A;
    const aggregate = restoreAggregate(new type(stored.id), stored);
    const entry = { ref, loadedVersion: stored.version, aggregate };
    this.#compare(context, entry);
    part.found.set(key, entry);
    return aggregate;
  }

  send(context: string, message: SentCommand): void {
    assertStorable(message.input, this.#call);
    this.#part(context).messages.push(message);
  }

  timer(context: string, change: TimerChange): void {
    if (change.step === "set") assertStorable(change.timer.command.input, this.#call);
    this.#part(context).timers.set(change.step === "set" ? change.timer.key : change.key, change);
  }

  letter(context: string, change: LetterChange): void {
    this.#part(context).letters.push(change);
  }

  /** What a command does with an execution of its context, or what is written of one together with the command's changes. */
  join({ context, change }: { readonly context: string; readonly change: ExecutionChange }): void {
    this.#part(context).executions.push(change);
  }

  audit(row: AuditRow): void {
    this.#part(row.context).audit.push(row);
  }

  idempotency(context: string, write: IdempotencyWrite): void {
    this.#part(context).idempotency = write;
  }

  inbox(context: string, consumer: string, messageId: string): void {
    this.#part(context).inbox = { consumer, messageId };
  }

  /** A command inside this one was refused: whatever its caller makes of that, nothing may be committed any more. */
  fail(error: unknown): void {
    this.#failure ??= error;
  }

  /** Everything that changed, as one commit. */
  toCommit(): Commit {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#expectation?.met === false)
      throw new InvalidInput({
        subject: "The call",
        issues: [{ path: "expectedVersion", message: "cannot be given: what the call changes has no version" }],
      });
    return { parts: [...this.#parts].map(([context, part]) => this.#toPart(context, part)) };
  }

  /** What was loaded or looked for, and what was made. */
  get touched(): readonly Touched[] {
    const { tenant } = this.#call.principal;
    return [...this.#parts].flatMap(([context, { settled }]) =>
      [...settled.values()].map(({ ref, loadedVersion, aggregate, recalled = false, written }) => ({
        ...{ place: placeOf(tenant, context, ref), ref, recalled },
        made: loadedVersion === 0 && aggregate !== undefined,
        version: aggregate?.version ?? 0,
        // One that nothing has happened to has no state.
        state: written ?? (aggregate === undefined || aggregate.version === 0 ? undefined : aggregate.state),
      })),
    );
  }

  /** Whether it rests on what is only remembered. */
  get recalled(): boolean {
    return [...this.#parts.values()].some(({ settled }) => [...settled.values()].some(({ recalled }) => recalled));
  }

  #recall(context: string, ref: AggregateRef, type: AggregateClass): Tracked | undefined {
    const known = this.#recent?.get(placeOf(this.#call.principal.tenant, context, ref));
    if (known === undefined) return undefined;
    const { version, state } = known;
    const aggregate = state === undefined ? undefined : reviveAggregate(new type(ref.id), state, version);
    const tracked = { ref, loadedVersion: version, aggregate, recalled: true };
    if (aggregate !== undefined) this.#compare(context, tracked);
    return tracked;
  }

  #compare(context: string, { ref, loadedVersion }: Pick<Tracked, "ref" | "loadedVersion">): void {
    const expected = this.#expectation;
    // The first one: a handler begins with what its call is about, and a role may have the id of a user.
    if (expected === undefined || expected.met || expected.context !== context || expected.id !== ref.id) return;
    expected.met = true;
    if (expected.version === loadedVersion) return;
    const mismatch = new VersionMismatch({ ...ref, expected: expected.version, actual: loadedVersion });
    this.fail(mismatch);
    throw mismatch;
  }

  #toPart(context: string, part: Part): CommitPart {
    const events: StoredEvent[] = [];
    const changed = [...part.found].filter(
      ([key, { aggregate }]) => !part.settled.has(key) && pendingEvents(aggregate!).length > 0,
    );
    const aggregates = [...part.settled.values(), ...changed.map(([, tracked]) => tracked)].map((tracked) =>
      this.#toChange(context, tracked, events),
    );
    return {
      context,
      aggregates,
      events,
      messages: part.messages,
      timers: part.timers.size === 0 ? undefined : [...part.timers.values()],
      letters: part.letters.length === 0 ? undefined : part.letters,
      executions: part.executions.length === 0 ? undefined : part.executions,
      audit: part.audit,
      idempotency: part.idempotency,
      inbox: part.inbox,
    };
  }

  #toChange(context: string, tracked: Tracked, events: StoredEvent[]): AggregateChange {
    const { ref, loadedVersion, aggregate } = tracked;
    const pending = aggregate === undefined ? [] : pendingEvents(aggregate);
    if (aggregate === undefined || pending.length === 0) return { ...ref, expectedVersion: loadedVersion };
    for (const event of pending) {
      const data = event.data;
      assertStorable(data, this.#call);
      events.push({
        id: this.#ids.next("evt"),
        tenant: this.#call.principal.tenant,
        context,
        type: event.definition.type,
        version: event.definition.version,
        aggregateType: ref.type,
        aggregateId: ref.id,
        aggregateVersion: event.version,
        time: toInstant(this.#call.startedAt),
        data,
        actor: this.#call.principal.actor,
        onBehalfOf: this.#call.principal.onBehalfOf,
        correlationId: this.#call.correlationId,
        causationId: this.#call.causationId,
        traceparent: this.#call.trace.traceparent,
      });
    }
    const stored = storedState(aggregate);
    assertStorable(stored.state, this.#call);
    tracked.written = stored.state;
    return { ...ref, expectedVersion: loadedVersion, write: { version: aggregate.version, ...stored } };
  }

  #part(context: string): Part {
    let part = this.#parts.get(context);
    if (part === undefined) {
      part = newPart();
      this.#parts.set(context, part);
    }
    return part;
  }
}
