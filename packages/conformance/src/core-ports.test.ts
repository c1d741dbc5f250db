import { systemClock, systemIds } from "@armature/core";
import { fixedClock, recordingLogger, SeededRandom, seededIds, sequentialIds } from "@armature/core/testing";
import { clockSuite, idsSuite, loggerSuite } from "./index.ts";

clockSuite("the machine's", () => ({ clock: systemClock() }));

clockSuite("fixed", () => {
  const clock = fixedClock();
  return { clock, pass: (ms) => clock.advance(ms) };
});

idsSuite("system", systemIds);

idsSuite("sequential", sequentialIds, {
  skip: [
    {
      test: "two processes that start at the same moment make different ids",
      reason: "repeating itself is what it is for",
    },
    { test: "ids of another day sort by day", reason: "it counts and knows no time" },
  ],
});

let processes = 0;
idsSuite("seeded", (clock) => {
  processes += 1;
  return seededIds(new SeededRandom(processes), clock);
});

loggerSuite("recording", () => {
  const logger = recordingLogger();
  return {
    logger,
    lines: () => logger.text().split("\n"),
  };
});
