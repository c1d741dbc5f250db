import type { AggregateRef, CommitPart } from "../kernel/store.ts";

/** An aggregate as a commit left it; without a state it did not exist. */
interface RecentAggregate {
  readonly version: number;
  readonly state: object | undefined;
}

/** What a command has loaded, looked for or made. */
export interface Touched extends RecentAggregate {
  readonly place: string;
  readonly ref: AggregateRef;
  readonly made: boolean;
  /** Out of what is remembered, which may be wrong. */
  readonly recalled: boolean;
}

const MOST = 512;
/** How long nothing is remembered of what another process has changed in the meantime: it may well do so again. */
const CONTENDED_MS = 10_000;

/**
 * What the commands of executions have left behind, so that the next step of an execution need not load it. Whoever
 * works from here may be wrong and finds out: a commit checks the version of everything that was loaded, and what a
 * handler refuses it is asked again.
 */
export class RecentAggregates {
  /** Who was used last stands last. */
  readonly #entries = new Map<string, RecentAggregate>();
  readonly #contended = new Map<string, number>();

  get(place: string): RecentAggregate | undefined {
    return this.#entries.get(place);
  }

  /** It is committed: what it has touched is remembered as it has left it, what else it has written no more. */
  committed(tenant: string, parts: readonly CommitPart[], touched: readonly Touched[], now: number): void {
    if (this.#entries.size > 0) {
      const places = new Set(touched.map(({ place }) => place));
      for (const { context, aggregates } of parts)
        for (const { write, ...ref } of aggregates) {
          const place = placeOf(tenant, context, ref);
          if (write !== undefined && !places.has(place)) this.#entries.delete(place);
        }
    }
    for (const { place, version, state } of touched) {
      // Of two commits the one that was first may hear of it last.
      if ((this.#entries.get(place)?.version ?? 0) > version) continue;
      this.#entries.delete(place);
      if (this.#contended.size > 0 && !this.#mayKeep(place, now)) continue;
      keep(this.#entries, place, { version, state });
    }
  }

  /** It has come to nothing: what is remembered of what it has loaded may be why, and of this one certainly is. */
  failed(touched: readonly Touched[], wrong: AggregateRef | undefined, now: number): void {
    for (const { place, ref, recalled } of touched) {
      this.#entries.delete(place);
      if (!recalled || ref.type !== wrong?.type || ref.id !== wrong.id) continue;
      this.#contended.delete(place);
      keep(this.#contended, place, now + CONTENDED_MS);
    }
  }

  #mayKeep(place: string, now: number): boolean {
    const until = this.#contended.get(place);
    if (until === undefined) return true;
    if (until > now) return false;
    this.#contended.delete(place);
    return true;
  }
}

/** As the last one, of not too many. */
function keep<T>(kept: Map<string, T>, place: string, value: T): void {
  kept.set(place, value);
  const [oldest] = kept.keys();
  if (kept.size > MOST) kept.delete(oldest!);
}

/** What an aggregate is remembered by. */
export function placeOf(tenant: string, context: string, { type, id }: AggregateRef): string {
  // Nothing that is stored holds a NUL character.
  return `${tenant}\0${context}\0${type}\0${id}`;
}
