import { setImmediate as turn, setTimeout as wait } from "node:timers/promises";
import { describe, expect, it, vi } from "vitest";
import { type Came, Together } from "./together.ts";

/** Round trips as they are asked for, each answered when the test says so. */
function roundTrips() {
  const made: { readonly asked: readonly string[]; answer(come?: (question: string) => Came<string>): void }[] = [];
  const trip = <T>(asked: readonly string[], end: (come: (question: string) => Came<string>) => T) =>
    new Promise<T>((resolve) => {
      made.push({ asked, answer: (come = (question) => ({ answer: question.toUpperCase() })) => resolve(end(come)) });
    });
  const together = new Together<string, string>({
    one: (question) => trip([question], () => question.toUpperCase()),
    many: (questions) => trip(questions, (come) => questions.map(come)),
  });
  return { made, together, asked: () => made.map(({ asked }) => asked.join("")) };
}

const questions = (text: string) => [...text];

describe("Calls that come at the same time", () => {
  it("go at once when nothing is under way, and by themselves", async () => {
    const { made, together, asked } = roundTrips();
    for (const question of "ab") {
      const answer = together.ask(question);
      expect(asked().at(-1)).toBe(question);
      made.at(-1)!.answer();
      expect(await answer).toBe(question.toUpperCase());
    }
  });

  it("share what is free with what came in the same turn, and then wait for what comes back", async () => {
    const { made, together, asked } = roundTrips();
    const answers = Promise.all(questions("abcd").map((each) => together.ask(each)));
    await turn();
    expect(asked()).toEqual(["a", "bcd"]);
    const later = Promise.all(questions("efgh").map((each) => together.ask(each)));
    await turn();
    expect(made).toHaveLength(2);
    made[0]!.answer();
    await turn();
    await turn();
    expect(asked()).toEqual(["a", "bcd", "efgh"]);
    for (const { answer } of made) answer();
    expect([await answers, await later]).toEqual([questions("ABCD"), questions("EFGH")]);
  });

  it("are spread over what is free, and no round trip has more than it may", async () => {
    const { made, together } = roundTrips();
    const answers = Promise.all(Array.from({ length: 60 }, (_, number) => together.ask(`${number} `)));
    for (let trip = 0; trip < 4; trip += 1) {
      await turn();
      await turn();
      for (const { answer } of made) answer();
    }
    expect((await answers).map(Number)).toEqual(Array.from({ length: 60 }, (_, number) => number));
    expect(made.every(({ asked }) => asked.length <= 24)).toBe(true);
  });

  it("have each what came of it: an answer, an error, or another try by itself", async () => {
    const { made, together, asked } = roundTrips();
    const answers = Promise.allSettled(questions("abcd").map((each) => together.ask(each)));
    await turn();
    made[1]!.answer((question) =>
      question === "b" ? "alone" : question === "c" ? { error: new Error("c") } : { answer: "D" },
    );
    await turn();
    expect(asked()).toEqual(["a", "bcd", "b"]);
    for (const { answer } of made) answer();
    expect((await answers).map((each) => (each.status === "fulfilled" ? each.value : String(each.reason)))).toEqual([
      "A",
      "B",
      "Error: c",
      "D",
    ]);
  });

  it("all fail when their round trip does, and those behind them go on", async () => {
    let trips = 0;
    const together = new Together<number, number>({
      one: (question) => wait(5, question),
      many: async (all) => {
        trips += 1;
        if (trips === 1) throw new Error("away");
        return all.map((answer) => ({ answer }));
      },
    });
    const ask = async (from: number) =>
      (await Promise.allSettled([0, 1, 2].map((each) => together.ask(from + each)))).map(({ status }) => status);
    expect(await ask(0)).toEqual(["fulfilled", "rejected", "rejected"]);
    expect(await ask(3)).toEqual(["fulfilled", "fulfilled", "fulfilled"]);
  });

  it("are asked by a clock of their own, whatever a test does to the process' one", async () => {
    const { made, together, asked } = roundTrips();
    const first = together.ask("a");
    vi.useFakeTimers();
    const second = together.ask("b");
    vi.useRealTimers();
    await expect.poll(asked).toEqual(["a", "b"]);
    for (const { answer } of made) answer();
    expect([await first, await second]).toEqual(["A", "B"]);
  });

  it("are not held up for long by some that take their time", async () => {
    const { made, together, asked } = roundTrips();
    const slow = Promise.all(questions("abc").map((each) => together.ask(each)));
    await turn();
    const waiting = together.ask("d");
    await expect.poll(asked).toEqual(["a", "bc", "d"]);
    made[2]!.answer();
    expect(await waiting).toBe("D");
    for (const { answer } of made) answer();
    expect(await slow).toEqual(questions("ABC"));
  });
});
