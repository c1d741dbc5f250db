import type { Measured } from "./rows.ts";
import type { Contender, Race } from "./work.ts";

/**
 * Has contenders work in turns: each once in every round, and each round begins with the next one, so that what else
 * the machine does meets all alike. The first round warms up and does not count.
 */
export async function inTurns(race: Race, quick: boolean): Promise<Measured[]> {
  const { contenders } = race;
  const rounds = quick ? 1 : (race.rounds ?? 11);
  const ms = quick ? 30 : (race.ms ?? 500);
  const values = new Map(contenders.map((contender) => [contender, [] as number[]]));
  for (let round = 0; round <= rounds; round += 1)
    for (const contender of turned(contenders, round)) {
      const measured = await contender.measure(ms);
      // They may be too many for the arguments of one call.
      if (round > 0) for (const value of [measured].flat()) values.get(contender)!.push(value);
    }
  for (const contender of contenders) await contender.check?.();
  return [...values].map(([{ subject }, each]) => ({ subject, values: each }));
}

function turned(contenders: readonly Contender[], by: number): readonly Contender[] {
  const at = contenders.length === 0 ? 0 : by % contenders.length;
  return [...contenders.slice(at), ...contenders.slice(0, at)];
}

/** Calls one after the other for so long; microseconds of one. */
export async function sequentially(ms: number, once: () => unknown): Promise<number> {
  const start = performance.now();
  let calls = 0;
  let elapsed = 0;
  while (elapsed < ms) {
    for (let index = 0; index < 50; index += 1) await once();
    calls += 50;
    elapsed = performance.now() - start;
  }
  return (elapsed * 1000) / calls;
}

/** Callers that each call one after the other for so long; calls in a second. */
export async function concurrently(
  ms: number,
  callers: number,
  once: (caller: number) => Promise<unknown>,
): Promise<number> {
  const start = performance.now();
  let calls = 0;
  const call = async (caller: number) => {
    while (performance.now() - start < ms) {
      await once(caller);
      calls += 1;
    }
  };
  await Promise.all(Array.from({ length: callers }, (_, caller) => call(caller)));
  return (calls * 1000) / (performance.now() - start);
}
