import { expect, it } from "vitest";
import { Turns } from "./turns.ts";

it("gives turns in the order in which they were asked for, one at a time, each key for itself", async () => {
  const turns = new Turns();
  const seen: string[] = [];
  const first = await turns.take("a");
  const later = ["second", "third"].map(async (name) => {
    const end = await turns.take("a");
    seen.push(name);
    end();
  });
  (await turns.take("b"))();
  expect(seen).toEqual([]);
  first();
  await Promise.all(later);
  expect(seen).toEqual(["second", "third"]);
  (await turns.take("a"))();
});
