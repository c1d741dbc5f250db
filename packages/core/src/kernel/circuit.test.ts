import { expect, test } from "vitest";
import { recordingLogger } from "../testing/recording-logger.ts";
import { Circuits } from "./circuit.ts";

test("who tries to connect to a provider that is down, again and again, is not remembered for ever", () => {
  const circuits = new Circuits();
  const user = { provider: "played", tenant: "acme", options: { failures: 3, openMs: 10_000 } };
  const log = recordingLogger();
  for (let each = 0; each < 10_100; each += 1)
    circuits.enter({ ...user, connectorId: `con_${each}` }, 0, log).end("outage", 0);
  expect(circuits.size).toBe(10_000);
});
