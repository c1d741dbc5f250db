import { expect, it } from "vitest";
import { Turns } from "./turns.ts";

it("gives turns in the order in which they were asked for, one at a time, each key for itself", async () => {
  const turns = new Turns();
  const seen: string[] = [];
  const first = await turns.take("a");
  const later = ["second", "third"].map(async (name) => {
    const turn = await turns.take("a");
    seen.push(name);
    turn.end();
  });
  (await turns.take("b")).end();
  expect(seen).toEqual([]);
  first.end();
  await Promise.all(later);
  expect(seen).toEqual(["second", "third"]);
  (await turns.take("a")).end();
  expect(turns.isEmpty).toBe(true);
});

it("leaves those alone who came after it, when it is ended twice", async () => {
  const turns = new Turns();
  const first = await turns.take("a");
  first.end();
  const second = await turns.take("a");
  first.end();
  let third = false;
  const waiting = turns.take("a").then((turn) => {
    third = true;
    turn.end();
  });
  await Promise.resolve().then(() => undefined);
  expect(third).toBe(false);
  second.end();
  await waiting;
  expect([third, turns.isEmpty]).toEqual([true, true]);
});

it("tells who has lost in turn that somebody else was faster, once", async () => {
  const turns = new Turns();
  const turn = await turns.take("a");
  expect(turn.overtaken()).toBe(false);
  turns.had("a");
  turns.had("b");
  expect([turn.overtaken(), turn.overtaken()]).toEqual([true, false]);
  turn.end();
  turns.had("a");
  expect(turns.isEmpty).toBe(true);
});
