import { freshRedis } from "../../packages/adapter-redis/src/fresh-redis.ts";
import { testEvent } from "../../packages/adapter-redis/src/test-event.ts";
import { ours, raw } from "./contenders.ts";

const ROUNDS = Number(process.env["ROUNDS"] ?? 11);
const EVENTS = Number(process.env["EVENTS"] ?? 20_000);
const BATCH = 100;
const SUBJECTS = 500;

const batches = Array.from({ length: Math.ceil(EVENTS / BATCH) }, (_, batch) =>
  Array.from({ length: BATCH }, (_, at) =>
    testEvent("/contexts/orders", `order/ord_${(batch * BATCH + at) % SUBJECTS}`, batch + 1),
  ),
);
const middle = (values: readonly number[]) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;

const redis = await freshRedis();
const contenders = [
  await raw(redis.client, await redis.connect(), redis.prefix),
  await ours(await redis.connect(), redis.prefix),
];
const rates = new Map(contenders.map(({ name }) => [name, [] as number[]]));
// The first round warms up. The order turns: what else the machine does meets them alike.
for (let round = 0; round <= ROUNDS; round += 1)
  for (const contender of round % 2 === 0 ? contenders : contenders.toReversed()) {
    const start = performance.now();
    await contender.carry(batches);
    if (round > 0) rates.get(contender.name)!.push((batches.length * BATCH * 1000) / (performance.now() - start));
  }

const base = middle(rates.get(contenders[0]!.name)!);
console.log(
  `publish to handled, ${batches.length * BATCH} events in batches of ${BATCH}, ${ROUNDS} rounds, interleaved; Node ${process.version}`,
);
for (const [name, values] of rates) {
  const [low, high] = [Math.min(...values), Math.max(...values)].map(Math.round);
  console.log(
    `${name}: ${Math.round(middle(values))}/s (${low} to ${high}), ${(middle(values) / base).toFixed(2)} of the first`,
  );
}
for (const contender of contenders) await contender.close();
await redis.close();
