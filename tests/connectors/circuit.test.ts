import { CircuitOpen, connectorAction, ProviderFailed } from "@armature/core";
import { answer } from "@armature/core/testing";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { api, played, playedApp } from "./played.ts";

const read = `GET ${api}/items/:id`;
const fine = answer.json({ id: "1" });
const circuit = { failures: 3, openMs: 10_000 };
const openFor = (retryAfterMs: number) => ({
  code: CircuitOpen.code,
  kind: "unavailable",
  details: { provider: "played", retryAfterMs },
});

describe("a provider that is down", () => {
  test.each([
    ["fails", answer.status(500)],
    ["cannot be reached", answer.unreachable()],
  ])("because it %s is asked no more for a while, and callers hear of it at once", async (_what, outage) => {
    const { connect, simulator, clock, logger } = await playedApp(played({ circuit }));
    const { invoke } = await connect();
    simulator.on(read, outage);
    for (let call = 0; call < 3; call += 1)
      await expect(invoke("read", { id: "1" })).rejects.not.toMatchObject({ code: CircuitOpen.code });
    await expect(invoke("read", { id: "1" })).rejects.toMatchObject(openFor(10_000));
    await clock.advance(4_000);
    await expect(invoke("write")).rejects.toMatchObject(openFor(6_000));
    expect(simulator.requests).toHaveLength(3);
    expect(logger.text()).toContain("A provider is down");
  });

  test("because it hangs counts as down after its time", async () => {
    const { connect, simulator, clock } = await playedApp(played({ circuit, timeoutMs: 1_000 }));
    const { invoke } = await connect();
    simulator.on(read, answer.hang());
    for (let call = 1; call <= 3; call += 1) {
      const hanging = expect(invoke("read", { id: "1" })).rejects.toMatchObject({ code: "provider.timed_out" });
      await simulator.untilRequested(call);
      await clock.advance(1_000);
      await hanging;
    }
    await expect(invoke("read", { id: "1" })).rejects.toMatchObject(openFor(10_000));
  });

  test("is tried by one caller when the time is over: others wait for what that one finds", async () => {
    const { connect, simulator, clock, logger } = await playedApp(played({ circuit }));
    const { invoke } = await connect();
    simulator.on(read, answer.status(503));
    for (let call = 0; call < 3; call += 1) await expect(invoke("read", { id: "1" })).rejects.toThrow(ProviderFailed);
    await clock.advance(10_000);
    // The probe finds it down still.
    await expect(invoke("read", { id: "1" })).rejects.toThrow(ProviderFailed);
    await expect(invoke("read", { id: "1" })).rejects.toMatchObject(openFor(10_000));
    await clock.advance(10_000);
    const found = Promise.withResolvers<typeof fine>();
    simulator.on(read, () => found.promise);
    const probe = invoke("read", { id: "1" });
    await simulator.untilRequested(5);
    await expect(invoke("read", { id: "1" })).rejects.toMatchObject({ code: CircuitOpen.code });
    found.resolve(fine);
    expect(await probe).toEqual({ id: "1" });
    expect(await invoke("read", { id: "1" })).toEqual({ id: "1" });
    expect(simulator.requests).toHaveLength(6);
    expect(logger.text()).toContain("A provider works again");
  });

  test("is tried by the next caller when the first one gave up on its probe", async () => {
    const { connect, simulator, clock } = await playedApp(played({ circuit }));
    const { invoke } = await connect();
    simulator.on(read, answer.status(503));
    for (let call = 0; call < 3; call += 1) await expect(invoke("read", { id: "1" })).rejects.toThrow(ProviderFailed);
    await clock.advance(10_000);
    simulator.on(read, answer.hang(), fine);
    const impatient = new AbortController();
    const probe = expect(invoke("read", { id: "1" }, { signal: impatient.signal })).rejects.toMatchObject({
      code: "canceled",
    });
    await simulator.untilRequested(4);
    impatient.abort();
    await probe;
    expect(await invoke("read", { id: "1" })).toEqual({ id: "1" });
  });

  test("for one tenant alone is closed off for that one; for several, for all", async () => {
    const { connect, simulator } = await playedApp(played({ circuit }));
    const [acme, globex, initech] = [await connect("acme"), await connect("globex"), await connect("initech")];
    simulator.on(read, answer.status(500));
    for (let call = 0; call < 3; call += 1)
      await expect(acme.invoke("read", { id: "1" })).rejects.toThrow(ProviderFailed);
    await expect(acme.invoke("read", { id: "1" })).rejects.toThrow(CircuitOpen);
    // One tenant's trouble is no outage of the provider: the second one is let through, and is a second witness.
    await expect(globex.invoke("read", { id: "1" })).rejects.toThrow(ProviderFailed);
    await expect(initech.invoke("read", { id: "1" })).rejects.toThrow(CircuitOpen);
    expect(simulator.requests).toHaveLength(4);
  });

  test("for one tenant alone is closed off for that one, however many connections it has", async () => {
    const { connect, simulator } = await playedApp(played({ circuit }));
    const [one, other, globex] = [await connect("acme"), await connect("acme"), await connect("globex")];
    simulator.on(read, answer.status(500));
    for (const { invoke } of [one, other])
      for (let call = 0; call < 3; call += 1)
        await expect(invoke("read", { id: "1" })).rejects.toMatchObject({ code: ProviderFailed.code });
    simulator.on(read, fine);
    expect(await globex.invoke("read", { id: "1" })).toEqual({ id: "1" });
  });

  test("is not kept closed by one tenant: not by what it finds, and not by how long it takes to find it", async () => {
    const { connect, simulator, clock } = await playedApp(played({ circuit }));
    const [acme, globex] = [await connect("acme"), await connect("globex")];
    const spare = await connect("acme");
    simulator.on(read, answer.status(500));
    for (const { invoke } of [acme, globex, globex])
      await expect(invoke("read", { id: "1" })).rejects.toMatchObject({ code: ProviderFailed.code });
    await clock.advance(10_000);
    // The one finds it down still, by a request that takes it down; and has another one that hangs.
    await expect(acme.invoke("read", { id: "1" })).rejects.toMatchObject({ code: ProviderFailed.code });
    simulator.on(read, answer.hang(), fine);
    const patience = new AbortController();
    const hanging = expect(spare.invoke("read", { id: "1" }, { signal: patience.signal })).rejects.toThrow();
    await simulator.untilRequested(5);
    expect(await globex.invoke("read", { id: "1" })).toEqual({ id: "1" });
    patience.abort();
    await hanging;
  });
});

describe("a provider that answers", () => {
  test.each([
    ["refuses", answer.status(404)],
    ["refuses the credential", answer.status(401)],
    ["is at its limit", answer.limited(100)],
    ["answers garbage", answer.garbage()],
    ["redirects", answer.redirect("https://elsewhere.example/")],
  ])("and %s is not down, however often it does", async (_what, given) => {
    const { connect, simulator } = await playedApp(played({ circuit }));
    const { invoke } = await connect();
    simulator.on(read, given);
    for (let call = 0; call < 10; call += 1) await expect(invoke("read", { id: "1" })).rejects.toThrow();
    expect(simulator.requests).toHaveLength(10);
  });

  test("in between is not down, and where a connector wants none there is no breaker", async () => {
    const outage = answer.status(500);
    for (const [options, answers] of [
      [circuit, [outage, outage, fine]],
      [false, [outage]],
    ] as const) {
      const { connect, simulator } = await playedApp(played({ circuit: options }));
      const { invoke } = await connect();
      for (let round = 0; round < 4; round += 1) {
        simulator.on(read, ...answers);
        for (let call = 0; call < 3; call += 1)
          await invoke("read", { id: "1" }).catch((error) => expect(error).toBeInstanceOf(ProviderFailed));
      }
      expect(simulator.requests).toHaveLength(12);
    }
  });
});

test("a call that met an open circuit has done nothing: its key is good for another try", async () => {
  const { connect, simulator, clock } = await playedApp(played({ circuit }));
  const { invoke } = await connect();
  simulator.on(read, answer.status(500)).on(`POST ${api}/items`, fine);
  for (let call = 0; call < 3; call += 1) await expect(invoke("read", { id: "1" })).rejects.toThrow(ProviderFailed);
  await expect(invoke("write", {}, { idempotencyKey: "w" })).rejects.toThrow(CircuitOpen);
  await clock.advance(10_000);
  expect(await invoke("write", {}, { idempotencyKey: "w" })).toEqual({ id: "1" });
});

test("an action that had changed something before the circuit opened does not claim that nothing happened", async () => {
  const several = {
    ...played({ circuit: { failures: 1, openMs: 1_000 } }),
    actions: {
      both: connectorAction({
        summary: "Writes, then asks twice.",
        risk: "write",
        input: z.strictObject({}),
        output: z.json(),
        run: async (_input, { http }) => {
          await http.post("/items", { schema: z.json() });
          await http.get("/items/1", { schema: z.json() }).catch(() => undefined);
          return http.get("/items/2", { schema: z.json() });
        },
      }),
    },
  };
  const { connect, simulator } = await playedApp(several);
  const { invoke } = await connect();
  simulator.on(read, answer.status(500)).on(`POST ${api}/items`, fine);
  const again = () => invoke("both", {}, { idempotencyKey: "b" });
  await expect(again()).rejects.toMatchObject({ code: ProviderFailed.code });
  await expect(again()).rejects.toMatchObject({ code: "unknown_outcome" });
  expect(simulator.requests.filter(({ method }) => method === "POST")).toHaveLength(1);
});
