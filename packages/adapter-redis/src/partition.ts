import type { CloudEvent } from "@armature/core";

/** An entry of a stream that waits in this process. */
export interface Entry {
  readonly id: string;
  /** Absent when it is none; `wrong` says why. */
  readonly event?: CloudEvent;
  readonly wrong?: string;
  readonly json: string;
  /** A member that died had been given it, and may have died of it: a try is counted before it begins. */
  readonly recovered: boolean;
}

/** What waits of one subject, oldest first. */
export interface Lane {
  readonly key: string;
  readonly partition: OwnedPartition;
  readonly waiting: Entry[];
  /** It is worked on, stands in line to be, or waits to be tried again. */
  busy: boolean;
  /** Failures of the first one, as far as this process knows. */
  failures: number;
}

/** A partition that is this member's, and what was read of it and is not finished. */
export class OwnedPartition {
  readonly number: number;
  readonly token: string;
  /** Whoever had it before did not give it back, and its history, which is what that one had in its hands, is not read yet. */
  inherited: boolean;
  readonly lanes = new Map<string, Lane>();
  /** Finished, and Redis is not told yet. */
  readonly finished: string[] = [];
  /** Subjects whose events go to the dead letters. Only the owner changes that. */
  readonly parked = new Set<string>();
  /** Behind which entry the history goes on; undefined once it is read. */
  history: string | undefined = "0";
  /** The entry that was read last. */
  #last = "0";
  /** Redis may have more than was read. */
  more = true;
  /** It is to be given back: nothing is begun any more. */
  leaving = false;
  /** It is somebody else's now: nothing that is in memory counts any more. */
  lost = false;
  /** Entries that wait or are worked on, and their bytes. */
  held = 0;
  bytes = 0;
  /** Handlers at work. */
  working = 0;

  constructor(number: number, token: string) {
    this.number = number;
    this.token = token;
    this.inherited = token.endsWith("!");
  }

  /** Redis may have given entries, in an answer that was lost: they are in the history behind what did arrive. */
  missed(): void {
    this.history ??= this.#last;
    this.more = true;
  }

  /** The history is read to its end. */
  caughtUp(): void {
    this.history = undefined;
    this.inherited = false;
    this.more = true;
  }

  lane(key: string): Lane {
    let lane = this.lanes.get(key);
    if (lane === undefined) {
      lane = { key, partition: this, waiting: [], busy: false, failures: 0 };
      this.lanes.set(key, lane);
    }
    return lane;
  }

  hold(entry: Entry, lane: Lane): void {
    lane.waiting.push(entry);
    this.#last = entry.id;
    this.held += 1;
    this.bytes += entry.json.length;
  }

  /** The first entry of the lane is done with. */
  release(lane: Lane): void {
    const entry = lane.waiting.shift();
    if (entry === undefined) return;
    lane.failures = 0;
    this.held -= 1;
    this.bytes -= entry.json.length;
  }
}
