import { metrics } from "@opentelemetry/api";
import { afterEach, expect, test } from "vitest";
import { occupiedPort } from "../test-server.ts";
import { CommandRefused } from "./command-refused.ts";
import { startMetrics } from "./metrics.ts";

afterEach(() => metrics.disable());

test("what is counted from then on can be fetched, until it is ended", async () => {
  const { port, free } = await occupiedPort();
  await free();
  const end = await startMetrics({ host: "127.0.0.1", port });
  metrics.getMeter("test").createCounter("tried").add(3);
  const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  expect(text).toMatch(/^tried_total(\{.*\})? 3$/m);
  await end();
  await expect(fetch(`http://127.0.0.1:${port}/metrics`)).rejects.toThrow();
});

test("an address that is taken is refused in a sentence", async () => {
  const { port, free } = await occupiedPort();
  const refused = startMetrics({ host: "127.0.0.1", port });
  await expect(refused).rejects.toThrow(CommandRefused);
  await expect(refused).rejects.toThrow(`METRICS_ADDRESS 127.0.0.1:${port} (EADDRINUSE)`);
  await free();
});
