import { type Logger, Secret } from "@armature/core";
import { beforeEach, expect } from "vitest";
import { fresh } from "./expectations.ts";
import { describeSuite, type SuiteOptions } from "./suite.ts";

export interface LoggerSetup {
  readonly logger: Logger;
  /** Everything that was written so far, one line an entry. All levels must be on. */
  lines(): readonly string[] | Promise<readonly string[]>;
}

const LEVELS = ["debug", "info", "warn", "error"] as const;

/** What every `Logger` must do. */
export function loggerSuite(
  adapter: string,
  setup: () => LoggerSetup | Promise<LoggerSetup>,
  options: SuiteOptions = {},
): void {
  describeSuite("Logger", adapter, options, (test) => {
    let ready: LoggerSetup;
    beforeEach(async () => {
      ready = await setup();
    });
    const linesWith = async (text: string) => (await ready.lines()).filter((line) => line.includes(text));

    test("every level writes one line that holds the message and its fields", async () => {
      for (const level of LEVELS) {
        const word = fresh("word");
        ready.logger[level](`${level} happened ${word}`, { tenant: "acme", attempts: 3, nested: { list: [1] } });
        const lines = await linesWith(word);
        expect(lines).toHaveLength(1);
        for (const part of [`${level} happened`, "tenant", "acme", "attempts", "3", "nested"])
          expect(lines[0]).toContain(part);
      }
    });

    test("lines stand in the order in which they were written", async () => {
      const words = Array.from({ length: 20 }, () => `${fresh("word")}.`);
      for (const [at, word] of words.entries()) ready.logger[LEVELS[at % 4]!](word);
      const found = (await ready.lines()).flatMap((line) => words.filter((word) => line.includes(word)));
      expect(found).toEqual(words);
    });

    test("a message needs no fields, and fields may be empty", async () => {
      const word = fresh("word");
      ready.logger.info(`${word} one`);
      ready.logger.info(`${word} two`, {});
      expect(await linesWith(word)).toHaveLength(2);
    });

    test("a value that cannot be written as JSON does not stop the program or the line", async () => {
      const circular: Record<string, unknown> = { name: "loop" };
      circular["self"] = circular;
      const unusual: Record<string, unknown> = {
        undefined: undefined,
        circular,
        bigint: 12n,
        symbol: Symbol("s"),
        function: () => 1,
        date: new Date(Number.NaN),
        map: new Map([[{}, 1]]),
        number: Number.NaN,
        bare: Object.create(null),
      };
      for (const [name, value] of Object.entries(unusual)) {
        const word = fresh("word");
        ready.logger.error(word, { [name]: value });
        expect(await linesWith(word), name).toHaveLength(1);
      }
    });

    test("an error in a field is written with its message", async () => {
      const word = fresh("word");
      ready.logger.error(word, { error: new Error("the disk is full", { cause: new Error("no space") }) });
      expect((await linesWith(word))[0]).toContain("the disk is full");
    });

    test("a secret that got into the fields is not written", async () => {
      const word = fresh("word");
      const token = new Secret("canary-5d1c");
      ready.logger.info(word, { token, nested: [{ token }], error: new Error("no", { cause: token }) });
      expect(await linesWith(word)).toHaveLength(1);
      expect((await ready.lines()).join("\n")).not.toContain("canary-5d1c");
    });

    test("a message or field with line breaks stays one line", async () => {
      const word = fresh("word");
      ready.logger.info(`${word}\nforged 1`, { value: `${word}\r\nforged 2` });
      const lines = (await ready.lines()).flatMap((line) => line.split(/[\r\n]+/));
      expect(lines.filter((line) => line.startsWith("forged"))).toEqual([]);
      expect(await linesWith(word)).toHaveLength(1);
    });

    test("what was given is not changed", () => {
      const fields = Object.freeze({ tenant: "acme", nested: Object.freeze({ a: 1 }) });
      for (const level of LEVELS) ready.logger[level]("frozen", fields);
      expect(fields).toEqual({ tenant: "acme", nested: { a: 1 } });
    });
  });
}
