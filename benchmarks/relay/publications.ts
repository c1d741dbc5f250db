import { hrtime } from "node:process";

/** What one process has published, in its order. */
export interface Publications {
  readonly subjects: readonly string[];
  /** For each publication: which of the subjects, which of its events, and when, in microseconds of the machine's clock. */
  readonly subject: Int32Array;
  readonly sequence: Int32Array;
  readonly time: Float64Array;
}

/** Writes down what is published: all that a publication costs here, the same for every contender. */
export class PublicationLog {
  #indexes = new Map<string, number>();
  #subject: number[] = [];
  #sequence: number[] = [];
  #time: number[] = [];

  add(subject: string, sequence: number): void {
    let index = this.#indexes.get(subject);
    if (index === undefined) {
      index = this.#indexes.size;
      this.#indexes.set(subject, index);
    }
    this.#subject.push(index);
    this.#sequence.push(sequence);
    this.#time.push(Number(hrtime.bigint()) / 1000);
  }

  /** Everything since the last time. */
  take(): Publications {
    const taken = {
      subjects: [...this.#indexes.keys()],
      subject: Int32Array.from(this.#subject),
      sequence: Int32Array.from(this.#sequence),
      time: Float64Array.from(this.#time),
    };
    this.#indexes = new Map();
    [this.#subject, this.#sequence, this.#time] = [[], [], []];
    return taken;
  }
}

/** What came of a drain, over all processes. */
export interface Order {
  /** Events that were published at least once. */
  readonly distinct: number;
  readonly repeats: number;
  /** Events that were published before an earlier one of the same subject. */
  readonly reorders: number;
}

/** Lays the logs of all processes on one line of time and looks at each subject's events in it. */
export function orderOf(logs: readonly Publications[]): Order {
  const all = logs.flatMap(({ subjects, subject, sequence, time }) =>
    Array.from(subject, (index, at) => ({ subject: subjects[index]!, sequence: sequence[at]!, time: time[at]! })),
  );
  all.sort((a, b) => a.time - b.time);
  const seen = new Map<string, { readonly sequences: Set<number>; highest: number }>();
  let [distinct, repeats, reorders] = [0, 0, 0];
  for (const { subject, sequence } of all) {
    const known = seen.get(subject) ?? { sequences: new Set<number>(), highest: 0 };
    seen.set(subject, known);
    if (known.sequences.has(sequence)) {
      repeats += 1;
      continue;
    }
    known.sequences.add(sequence);
    distinct += 1;
    if (sequence < known.highest) reorders += 1;
    known.highest = Math.max(known.highest, sequence);
  }
  return { distinct, repeats, reorders };
}
