import { ended, forked, messageOf } from "../forked.ts";
import { toRows, type Unit } from "../rows.ts";
import type { Work } from "../work.ts";

/** What the process is started with. */
export interface IdleSetting {
  readonly url: string;
  readonly name: string;
  /** Executions that wait for a signal in the end. */
  readonly suspended: number;
  /** For how long it is looked at. */
  readonly ms: number;
}

/** What a process does when nobody asks anything of it. */
export interface Idleness {
  /** What is left after a collection, in MB. */
  readonly inUse: number;
  /** What the operating system sees, in MB. */
  readonly resident: number;
  /** Statements that it sends to PostgreSQL in a minute. */
  readonly statements: number;
  /** Of one processor, in percent. */
  readonly processor: number;
}

export interface Idled {
  readonly none: Idleness;
  readonly many: Idleness;
}

const numbers = new Intl.NumberFormat("en-US");
/** What one that waits may hold of the process's memory, in bytes. */
const MOST_EACH = 200;
/** Statements a minute that are more may be chance: loops that come round once more. */
const MOST_MORE = 30;

/** What executions cost that wait. */
export const idle: Work = {
  name: "idle",
  about: "a process in which nothing happens: before anything was started, and when executions wait for signals",
  run: async (bench) => {
    const { url, name } = await bench.database();
    const suspended = bench.quick ? 100 : 10_000;
    const setting: IdleSetting = { url, name, suspended, ms: bench.quick ? 500 : 60_000 };
    const child = forked(new URL("idle-process.ts", import.meta.url), setting, ["--expose-gc"]);
    const { none, many } = await messageOf<Idled>(child);
    await ended(child);
    const add = (named: string, unit: Unit, of: keyof Idleness) =>
      bench.add(
        toRows(`idle ${named}`, unit, [
          { subject: "armature", values: [none[of]] },
          { subject: `armature (${numbers.format(suspended)} suspended)`, values: [many[of]] },
        ]),
      );
    add("memory in use", "MB", "inUse");
    add("resident memory", "MB", "resident");
    add("statements", "statements/min", "statements");
    add("processor", "%", "processor");
    if (bench.quick) return;
    const each = ((many.inUse - none.inUse) * 2 ** 20) / suspended;
    if (each > MOST_EACH) throw new Error(`Each execution that waits holds ${Math.round(each)} bytes of the process.`);
    const more = many.statements - none.statements;
    if (more > MOST_MORE) throw new Error(`Executions that wait have ${Math.round(more)} statements a minute sent.`);
  },
};
