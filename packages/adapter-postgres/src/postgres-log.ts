import type { EventLog, LogPage, LogQuery } from "@armature/core";
import type { Database } from "./database.ts";
import { contextSchema } from "./identifier.ts";

interface LogAnswer extends Pick<LogPage, "items" | "upTo"> {
  /** Positions up to here are filled, or never will be. */
  readonly settled: number;
  /** A transaction id that is higher than all that had been given out when the fence was the last position. */
  readonly barrier: string;
  /** The last position taken. */
  readonly head: number;
}

/**
 * The log in order of position, up to where no transaction can fill a hole any more. What was learned of that is kept
 * in memory: a fence is a position that had been taken by a certain time and the transactions that were open then. One
 * fence at a time: it falls when those have ended, however many new ones there are, so a busy server keeps nobody
 * waiting for longer than its longest transaction.
 */
export class PostgresLog implements EventLog {
  readonly #database: Database;
  readonly #contexts = new Map<string, Settled>();

  constructor(database: Database) {
    this.#database = database;
  }

  async read(context: string, { after, types, limit }: LogQuery): Promise<LogPage> {
    const known = this.#known(context);
    // The first look may only find out that something new is there; the second one gets it.
    for (let look = 1; ; look += 1) {
      const sent = known.asked();
      const values = [after, sent.settled, sent.fence, sent.barrier ?? null, types ?? null, limit];
      const answer = (await this.#call(context, "log_read", values)) as LogAnswer;
      known.learn(sent.fence, answer);
      const { items, upTo } = answer;
      const newer = sent.barrier === undefined && answer.head > sent.fence;
      if (upTo > after || look === 2 || !newer) return { items, upTo, more: upTo < answer.settled };
    }
  }

  async head(context: string): Promise<number> {
    return (await this.#call(context, "log_head", [])) as number;
  }

  async count(context: string, { after, atMost }: { readonly after: number; readonly atMost: number }) {
    return (await this.#call(context, "log_count", [after, atMost])) as number;
  }

  #known(context: string): Settled {
    const known = this.#contexts.get(context) ?? new Settled();
    this.#contexts.set(context, known);
    return known;
  }

  #call(context: string, name: string, values: unknown[]): Promise<unknown> {
    return this.#database.call(context, contextSchema(context), name, values);
  }
}

/** How far the positions of one context are known to be settled, and the fence that is waited for. */
class Settled {
  #settled = 0;
  #head = 0;
  #fence: { readonly position: number; readonly barrier: string } | undefined;

  /** What to ask with. Without a fence the last position known becomes one, and the answer gives its barrier. */
  asked(): { readonly settled: number; readonly fence: number; readonly barrier: string | undefined } {
    const { position = this.#head, barrier } = this.#fence ?? {};
    return { settled: this.#settled, fence: position, barrier };
  }

  /** @param asked the position of the fence that was asked with; it had been taken before the answer's barrier was given out */
  learn(asked: number, { settled, barrier, head }: LogAnswer): void {
    // Answers may come in another order than they were asked for: nothing here ever goes back.
    this.#settled = Math.max(this.#settled, settled);
    this.#head = Math.max(this.#head, head);
    if (this.#fence !== undefined && this.#fence.position <= this.#settled) this.#fence = undefined;
    if (this.#fence === undefined && asked > this.#settled) this.#fence = { position: asked, barrier };
  }
}
