import { Pool } from "pg";
import { dropAll, freshDatabase } from "../../packages/adapter-postgres/src/fresh-database.ts";
import { bare } from "./bare.ts";
import type { Contender } from "./contender.ts";
import { ours } from "./ours.ts";

const ROUNDS = Number(process.env["ROUNDS"] ?? 15);
const MS_PER_ROUND = Number(process.env["ROUND_MS"] ?? 1_000);
const CALLERS = Number(process.env["CALLERS"] ?? 8);

/** Changes in a second, by callers that each have an aggregate of their own. */
async function rate(contender: Contender, ms: number): Promise<number> {
  const start = performance.now();
  let changes = 0;
  const caller = async (index: number) => {
    while (performance.now() - start < ms) {
      await contender.change(`c${index}`);
      changes += 1;
    }
  };
  await Promise.all(Array.from({ length: CALLERS }, (_, index) => caller(index)));
  return (changes * 1000) / (performance.now() - start);
}

const middle = (values: readonly number[]) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;

const database = await freshDatabase();
const pool = new Pool({ connectionString: database.url, max: CALLERS });
const contenders = [await bare(pool), await ours(pool, database.name, false), await ours(pool, database.name, true)];
const rates = new Map(contenders.map(({ name }) => [name, [] as number[]]));
for (const contender of contenders) {
  for (let index = 0; index < CALLERS; index += 1) await contender.make(`c${index}`);
  await rate(contender, MS_PER_ROUND); // warms connections and plans up
}
// One after the other in each round, and the order turns: what else the machine does meets them alike.
for (let round = 0; round < ROUNDS; round += 1)
  for (const contender of round % 2 === 0 ? contenders : contenders.toReversed())
    rates.get(contender.name)!.push(await rate(contender, MS_PER_ROUND));

const base = middle(rates.get(contenders[0]!.name)!);
console.log(
  `load + commit, ${CALLERS} callers, ${ROUNDS} rounds of ${MS_PER_ROUND} ms, interleaved; Node ${process.version}`,
);
for (const [name, values] of rates) {
  const [low, high] = [Math.min(...values), Math.max(...values)].map(Math.round);
  console.log(
    `${name}: ${Math.round(middle(values))}/s (${low} to ${high}), ${(middle(values) / base).toFixed(2)} of the first`,
  );
}
await pool.end();
await dropAll([database]);
