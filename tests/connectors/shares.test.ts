import { createArmature } from "@armature/core";
import { InMemoryRateLimiter, inMemory } from "@armature/core/in-memory";
import { answer, fixedClock, ProviderSimulator } from "@armature/core/testing";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { keyEncryptionKey } from "../scenarios/place.ts";
import { api, hurry, played, playedApp } from "./played.ts";

const read = `GET ${api}/items/:id`;
const fine = answer.json({ id: "1" });
const MINUTES = 600_000;

describe("a limit of the whole app", () => {
  test("is never used up by one tenant: the others find their part, also when they come later", async () => {
    const day = { name: "day", per: "app", capacity: 20, refillMs: 86_400_000 } as const;
    const { connect, simulator } = await playedApp(played({ limits: [day] }));
    simulator.on(read, fine);
    const [greedy, modest] = [await connect("greedy"), await connect("modest")];
    const served = await Promise.allSettled(Array.from({ length: 40 }, () => greedy.invoke("read", { id: "1" })));
    expect(served.filter(({ status }) => status === "fulfilled")).toHaveLength(10);
    for (let call = 0; call < 10; call += 1) expect(await modest.invoke("read", { id: "1" })).toEqual({ id: "1" });
  });

  test("is a single tenant's where the host says so", async () => {
    const day = { name: "day", per: "app", share: 1, capacity: 20, refillMs: 86_400_000 } as const;
    const { connect, simulator } = await playedApp(played({ limits: [day] }));
    simulator.on(read, fine);
    const { invoke } = await connect();
    const served = await Promise.allSettled(Array.from({ length: 40 }, () => invoke("read", { id: "1" })));
    expect(served.filter(({ status }) => status === "fulfilled")).toHaveLength(20);
  });

  test("gives a modest tenant its part beside a greedy one with a hundred callers, over two processes", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.record({
          capacity: fc.integer({ min: 2, max: 10 }),
          refillMs: fc.integer({ min: 1_000, max: 5_000 }),
          share: fc.constantFrom(0.25, 0.5, 0.75),
          wanted: fc.integer({ min: 2, max: 12 }),
        }),
        async ({ capacity, refillMs, share, wanted }) => {
          const clock = fixedClock();
          const shared = { store: inMemory({ clock }), rateLimiter: new InMemoryRateLimiter(clock), clock };
          const simulator = new ProviderSimulator({ clock }).on(read, fine);
          const definition = played({ limits: [{ name: "all", per: "app", capacity, refillMs, share }] });
          const process = () =>
            createArmature({
              ...shared,
              keyEncryptionKey,
              authorizer: () => true,
              connectors: [definition],
              http: simulator,
              relay: false,
            });
          const [one, two] = [await process(), await process()];
          const give = { timeoutMs: MINUTES };
          const connect = async (tenant: string) =>
            (await one.as({ tenant, user: "ann" }).connectors.connectWithApiKey({ provider: "played", apiKey: "k" }))
              .id;
          const ids = { greedy: await connect("greedy"), modest: await connect("modest") };
          const ask = (app: typeof one, tenant: "greedy" | "modest", options: object) =>
            app
              .as({ tenant, user: "ann" })
              .connectors.invoke({ connectorId: ids[tenant], action: "read", input: { id: tenant } }, options);

          const enough = new AbortController();
          const crowd = Array.from({ length: 100 }, (_, at) =>
            ask(at % 2 === 0 ? one : two, "greedy", { ...give, signal: enough.signal }).catch(() => undefined),
          );
          // It comes when the greedy one has had whatever it could get at once.
          await simulator.untilRequested(1);
          const began = clock.now();
          const step = Math.ceil(refillMs / capacity / 4);
          await hurry(clock, step, Promise.all(Array.from({ length: wanted }, () => ask(two, "modest", give))));
          const took = clock.now() - began;
          const others = simulator.requests.filter(({ url, at }) => url.endsWith("greedy") && at > began).length;
          enough.abort();
          await Promise.all(crowd);
          await Promise.all([one.close(), two.close()]);

          // What is left beside the greedy one's share, and no more than its own.
          const part = Math.min(1 - share, share);
          const interval = refillMs / capacity / part;
          expect(took).toBeLessThanOrEqual((wanted + 2) * interval + wanted * step);
          // And what nobody else wants is not lost: the greedy one goes on meanwhile.
          if (took > 4 * interval) expect(others).toBeGreaterThan(0);
        },
      ),
      { numRuns: 8 },
    );
  }, 60_000);

  test("must have a share that somebody can use", () => {
    const limit = { name: "x", capacity: 1, refillMs: 1 };
    for (const share of [0, -1, 1.1, Number.NaN])
      expect(() => played({ limits: [{ ...limit, per: "app", share }] })).toThrow("share");
    expect(() => played({ limits: [{ ...limit, per: "connector", share: 0.5 }] })).toThrow("share");
  });
});

test("callers of one connection are served in the order in which they came, and who gives up leaves the line", async () => {
  const limit = { name: "one", per: "connector", capacity: 1, refillMs: 1_000 } as const;
  const { connect, simulator, clock } = await playedApp(played({ limits: [limit] }));
  simulator.on(read, fine).on(`POST ${api}/items`, fine);
  const { invoke } = await connect();
  const leaving = new AbortController();
  await invoke("read", { id: "0" });
  const calls = ["1", "2"].map((id) => invoke("read", { id }));
  const gone = expect(invoke("write", {}, { signal: leaving.signal, idempotencyKey: "k" })).rejects.toMatchObject({
    code: "canceled",
  });
  calls.push(invoke("read", { id: "3" }));
  await clock.untilSleeping(1);
  leaving.abort();
  await gone;
  await hurry(clock, 500, Promise.all(calls));
  expect(simulator.requests.map(({ params }) => params["id"])).toEqual(["0", "1", "2", "3"]);
  // It had done nothing when it left, so its key is good for another try.
  await hurry(clock, 500, invoke("write", {}, { idempotencyKey: "k" }));
});
