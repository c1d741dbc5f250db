import { loggerSuite } from "@armature/conformance";
import { expect, test } from "vitest";
import { pinoLogger } from "./pino-logger.ts";

function logger(level: "debug" | "warn" = "debug") {
  const lines: string[] = [];
  return { logger: pinoLogger({ level, destination: { write: (line) => void lines.push(line) } }), lines: () => lines };
}

loggerSuite("pinoLogger", () => logger());

test("a line is JSON with its level as a word and its time", () => {
  const { logger: log, lines } = logger();
  log.info("listening", { port: 3000 });
  expect(JSON.parse(lines()[0]!)).toEqual({
    level: "info",
    time: expect.stringMatching(/^\d{4}-\d\d-\d\dT.*Z$/),
    message: "listening",
    port: 3000,
  });
});

test("fields that are named like secrets are not written", () => {
  const { logger: log, lines } = logger();
  log.info("careless", {
    password: "canary",
    nested: { accessToken: "canary", headers: { a: "canary" } },
    user: "ann",
  });
  expect(lines()[0]).not.toContain("canary");
  expect(JSON.parse(lines()[0]!)).toMatchObject({ password: "[redacted]", user: "ann" });
});

test("what is below the level is not written", () => {
  const { logger: log, lines } = logger("warn");
  log.info("quiet");
  log.warn("loud");
  expect(lines()).toHaveLength(1);
});
