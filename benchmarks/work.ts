import type { FreshDatabase } from "../packages/adapter-postgres/src/fresh-database.ts";
import type { Row, Unit } from "./rows.ts";

/** One way to do a piece of work. */
export interface Contender {
  /** `armature`, `floor`, or a peer's package and version; in brackets which part of it, where there are several. */
  readonly subject: string;
  /** What it does less than the others, or otherwise. */
  readonly note?: string;
  /** Works for about this many milliseconds and gives what it measured, in the race's unit: one value or many. */
  measure(ms: number): Promise<number | readonly number[]>;
  /** After the last round: throws when work was dropped or came out wrong. */
  check?(): Promise<void>;
  close?(): Promise<void>;
}

/** What takes part in one comparison. */
export interface Race {
  readonly work: string;
  readonly unit: Unit;
  /** How long a round of one contender lasts when it can choose. Default 500. */
  readonly ms?: number;
  /** Default 11, after one that warms up. */
  readonly rounds?: number;
  readonly contenders: readonly Contender[];
}

/** What a work is given. */
export interface Bench {
  /** Seconds instead of minutes: shows that everything runs and says nothing of speed. */
  readonly quick: boolean;
  /** Whether peers take part. */
  readonly withPeers: boolean;
  /** The contenders of `<work>/<name>.peer.ts`; none where peers were left out. */
  peers<Setting>(work: string, names: readonly string[], setting: Setting): Promise<Contender[]>;
  /** Runs the contenders in turns, checks them and closes them. */
  race(race: Race): Promise<void>;
  /** Adds what was measured in another way. */
  add(rows: readonly Row[]): void;
  /** A database of its own, gone when the work has ended. */
  database(): Promise<FreshDatabase>;
  /** Run when the work has ended, whichever way; the last one first. */
  defer(end: () => Promise<unknown>): void;
}

/** Something that Armature does, with what else does it. */
export interface Work {
  readonly name: string;
  /** What is measured, in a sentence. */
  readonly about: string;
  run(bench: Bench): Promise<void>;
}
