import { expect, test } from "vitest";
import { inMemory } from "../in-memory/index.ts";
import { fixedClock } from "../testing/fixed-clock.ts";
import { intercepted } from "../testing/intercepted.ts";
import { recordingLogger } from "../testing/recording-logger.ts";
import { OutboxSignals } from "./outbox-signals.ts";

function bench() {
  const [clock, logger, store, told] = [fixedClock(), recordingLogger(), intercepted(inMemory()), [] as string[]];
  store.around("outbox.announce", (proceed, [contexts]) => {
    told.push((contexts as readonly string[]).toSorted().join(" "));
    return proceed();
  });
  return { clock, store, told, signals: new OutboxSignals({ outbox: store.port.outbox, clock, logger }) };
}

test("the first commit is told of at once, and all of the next moment together", async () => {
  const { clock, told, signals } = bench();
  for (let at = 0; at < 100; at += 1) signals.tell("orders");
  await clock.advance(0);
  expect(told).toEqual(["orders"]);
  for (let at = 0; at < 100; at += 1) signals.tell(at % 2 === 0 ? "orders" : "billing");
  await clock.advance(19);
  expect(told).toHaveLength(1);
  await clock.advance(1);
  expect(told).toEqual(["orders", "billing orders"]);
  await clock.advance(1_000);
  expect(told).toHaveLength(2);
  await signals.close();
});

test("closing waits for no pause, and one that fails is not told again", async () => {
  const { store, told, signals } = bench();
  store.around("outbox.announce", () => Promise.reject(new Error("not now")));
  signals.tell("orders");
  signals.tell("billing");
  await signals.close();
  expect(told).toEqual([]);
});
