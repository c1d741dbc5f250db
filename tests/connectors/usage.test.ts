import { connectorAction, InvalidInput, type StoreAdapter } from "@armature/core";
import { inMemory } from "@armature/core/in-memory";
import { answer, fixedClock, intercepted } from "@armature/core/testing";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { api, hurry, played, playedApp } from "./played.ts";

const read = `GET ${api}/items/:id`;
const write = `POST ${api}/items`;
const fine = answer.json({ id: "1" });
const start = Date.parse("2026-11-21T10:20:00.000Z");
const clockAt = (time = start) => fixedClock(new Date(time).toISOString());
const nothing = {
  ...{ requests: 0, retries: 0, cached: 0, bytesSent: 0, bytesReceived: 0, milliseconds: 0 },
  failures: { refused: 0, limited: 0, outage: 0, credential: 0 },
};
const BODY = JSON.stringify({ id: "1" }).length;

describe("what a connector asks of its provider", () => {
  test("is counted by action and hour: requests, bytes and time", async () => {
    const clock = clockAt();
    const { connect, simulator } = await playedApp(played(), { clock });
    simulator.on(read, fine).on(write, fine);
    const { invoke, connectors, connectorId } = await connect();
    await invoke("read", { id: "1" });
    await invoke("write");
    await clock.advance(3_600_000);
    await invoke("read", { id: "2" });
    await invoke("read", { id: "3" });
    const { items } = await connectors.usage({ per: "hour" });
    expect(items).toEqual([
      { ...nothing, connectorId, period: "2026-11-21T10:00:00.000Z", action: "read", requests: 1, bytesReceived: BODY },
      {
        ...{ ...nothing, connectorId, period: "2026-11-21T10:00:00.000Z", action: "write", requests: 1 },
        ...{ bytesSent: 2, bytesReceived: BODY },
      },
      {
        ...{ ...nothing, connectorId, period: "2026-11-21T11:00:00.000Z", action: "read", requests: 2 },
        bytesReceived: 2 * BODY,
      },
    ]);
    expect((await connectors.usage()).items).toMatchObject([
      { period: "2026-11-21T00:00:00.000Z", action: "read", requests: 3 },
      { period: "2026-11-21T00:00:00.000Z", action: "write", requests: 1 },
    ]);
  });

  test.each([
    ["refused", answer.status(404), "refused"],
    ["redirected", answer.redirect("https://elsewhere.example/"), "refused"],
    ["limited", answer.limited(100), "limited"],
    ["failing", answer.status(500), "outage"],
    ["unreachable", answer.unreachable(), "outage"],
    ["refused for its credential", answer.status(401), "credential"],
  ] as const)("is counted when it is %s, with the row of the call that failed", async (_what, given, kind) => {
    const held = intercepted<StoreAdapter>(inMemory());
    const { connect, simulator } = await playedApp(played(), { store: held.port });
    const { invoke, connectors } = await connect();
    simulator.on(read, given);
    let commits = 0;
    held.around("commit", (go) => {
      commits += 1;
      return go();
    });
    await expect(invoke("read", { id: "1" })).rejects.toThrow();
    expect(commits).toBe(1);
    expect((await connectors.usage()).items).toMatchObject([
      { requests: 1, failures: { ...nothing.failures, [kind]: 1 } },
    ]);
  });

  test("is counted for each attempt, with the time that it took", async () => {
    const { connect, simulator, clock } = await playedApp(played({ attempts: 3, timeoutMs: 700 }), {
      clock: clockAt(),
    });
    const { invoke, connectors } = await connect();
    simulator.on(read, answer.hang(), answer.status(503), fine);
    const call = invoke("read", { id: "1" });
    await hurry(clock, 100, call);
    const { items } = await connectors.usage();
    expect(items).toMatchObject([{ requests: 3, retries: 2, failures: { outage: 2 }, milliseconds: 700 }]);
  });

  test("is no request where the answer is kept", async () => {
    const { connect, simulator } = await playedApp(played());
    const { invoke, connectors } = await connect();
    const kept = answer.json({ id: "1" }, { headers: { "cache-control": "max-age=60" } });
    simulator.on(read, kept);
    for (let call = 0; call < 3; call += 1) await invoke("read", { id: "1" });
    expect((await connectors.usage()).items).toMatchObject([{ requests: 1, cached: 2 }]);
  });

  test("is no request where none has left", async () => {
    const { connect, simulator } = await playedApp(
      played({ limits: [{ name: "one", per: "connector", capacity: 1, refillMs: 86_400_000 }] }),
    );
    const { invoke, connectors } = await connect();
    simulator.on(read, fine);
    await invoke("read", { id: "1" });
    await expect(invoke("read", { id: "1" })).rejects.toMatchObject({ code: "limit_exceeded" });
    expect((await connectors.usage()).items).toMatchObject([{ requests: 1 }]);
  });

  test("is counted under $health when a credential is tried, also of a connection that was not made", async () => {
    const asks = {
      ...played(),
      health: async ({ http }: { readonly http: { get(path: string, request: object): Promise<unknown> } }) => {
        await http.get("/items/me", { schema: z.object({ id: z.string() }) });
        return { id: "1", name: "Acme" };
      },
    } as ReturnType<typeof played>;
    const { app, connect, simulator } = await playedApp(asks);
    simulator.on(read, answer.status(401), fine);
    await expect(connect()).rejects.toMatchObject({ code: "provider.credential_refused" });
    const { connectors, connectorId } = await connect();
    await connectors.check({ connectorId });
    const { items } = await app.as({ tenant: "acme", user: "ann" }).connectors.usage();
    expect(items).toMatchObject([
      { action: "$health", requests: 1, failures: { credential: 1 } },
      { action: "$health", connectorId, requests: 2, failures: { credential: 0 } },
    ]);
  });

  test("is counted once for a call that is repeated with its key, and rides in its commits", async () => {
    const held = intercepted<StoreAdapter>(inMemory());
    const { connect, simulator } = await playedApp(played(), { store: held.port });
    const { invoke, connectors } = await connect();
    simulator.on(write, fine).on(read, answer.status(404));
    let commits = 0;
    held.around("commit", (go) => {
      commits += 1;
      return go();
    });
    for (let call = 0; call < 3; call += 1) await invoke("write", {}, { idempotencyKey: "k" });
    expect(commits).toBe(2); // the claim, and the settlement with what was counted
    for (let call = 0; call < 3; call += 1)
      await expect(invoke("read", { id: "1" }, { idempotencyKey: "r" })).rejects.toThrow();
    expect((await connectors.usage()).items).toMatchObject([
      { action: "read", requests: 1, failures: { refused: 1 } },
      { action: "write", requests: 1 },
    ]);
  });

  test("is counted for both when another attempt takes a call over", async () => {
    const { connect, simulator, clock } = await playedApp(played({ timeoutMs: 60_000 }), { clock: clockAt() });
    const { invoke, connectors } = await connect();
    const natural = { timeoutMs: 1_000, idempotencyKey: "k" };
    const first = Promise.withResolvers<typeof fine>();
    simulator.on(read, () => first.promise, fine);
    const slow = expect(invoke("read", { id: "1" }, natural)).rejects.toMatchObject({ code: "deadline_exceeded" });
    await simulator.untilRequested(1);
    await clock.advance(1_000);
    await slow;
    expect(await invoke("read", { id: "1" }, natural)).toEqual({ id: "1" });
    first.resolve(fine);
    await expect.poll(async () => (await connectors.usage()).items).toMatchObject([{ requests: 2 }]);
  });

  test("is counted when its caller has given up, once it has ended", async () => {
    const { app, connect, simulator } = await playedApp(played());
    const { invoke, connectors } = await connect();
    simulator.on(read, answer.hang());
    const impatient = new AbortController();
    const call = expect(invoke("read", { id: "1" }, { signal: impatient.signal })).rejects.toMatchObject({
      code: "canceled",
    });
    await simulator.untilRequested(1);
    impatient.abort();
    await call;
    await expect
      .poll(async () => (await connectors.usage()).items)
      .toMatchObject([{ action: "read", requests: 1, failures: { outage: 0 } }]);
    await app.close();
  });

  test("and every page of a listing, is counted under the action that asked", async () => {
    const page = z.object({ id: z.string() });
    const definition = {
      ...played(),
      actions: {
        all: connectorAction({
          summary: "Reads three.",
          risk: "read",
          input: z.strictObject({}),
          output: z.object({}),
          run: async (_input, { http }) => {
            for (const id of ["1", "2", "3"]) await http.get(`/items/${id}`, { schema: page });
            return {};
          },
        }),
      },
    } as unknown as ReturnType<typeof played>;
    const { connect, simulator } = await playedApp(definition);
    simulator.on(read, fine);
    const { invoke, connectors } = await connect();
    await Promise.all([invoke("all"), invoke("all")]);
    expect((await connectors.usage()).items).toMatchObject([{ action: "all", requests: 6 }]);
  });
});

describe("the list of what was counted", () => {
  test("has pages that fit together, for hours and days, one connector and all of them", async () => {
    const hour = 3_600_000;
    const clock = clockAt(Date.parse("2026-01-01T00:30:00.000Z"));
    const { app, connect, simulator } = await playedApp(played(), { clock });
    simulator.on(read, fine).on(write, fine);
    const connections = [await connect(), await connect(), await connect()];
    const made: { readonly connectorId: string; readonly action: string; readonly at: number }[] = [];
    for (let step = 0; step < 60; step += 1) {
      const { connectorId, invoke } = connections[(step * 7) % 3]!;
      const action = step % 5 < 3 ? "read" : "write";
      await invoke(action, action === "read" ? { id: "1" } : {});
      made.push({ connectorId, action, at: clock.now() });
      if (step % 2 === 1) await clock.advance(hour * (1 + (step % 4) * 3));
    }
    const { usage } = app.as({ tenant: "acme", user: "ann" }).connectors;
    await fc.assert(
      fc.asyncProperty(
        fc.record({
          per: fc.constantFrom("hour" as const, "day" as const),
          limit: fc.integer({ min: 1, max: 30 }),
          connection: fc.option(fc.nat(2), { nil: undefined }),
          from: fc.option(fc.nat(300), { nil: undefined }),
          hours: fc.option(fc.nat(200), { nil: undefined }),
        }),
        async ({ per, limit, connection, from, hours }) => {
          const first = Date.parse("2026-01-01T00:00:00.000Z");
          const since = from === undefined ? undefined : first + from * hour;
          const until = since === undefined || hours === undefined ? undefined : since + hours * hour;
          const connectorId = connection === undefined ? undefined : connections[connection]!.connectorId;
          const asked = {
            ...{ per, limit, connectorId },
            since: since === undefined ? undefined : new Date(since).toISOString(),
            until: until === undefined ? undefined : new Date(until).toISOString(),
          };
          const items: Awaited<ReturnType<typeof usage>>["items"] = [];
          for (let after: string | undefined; ; ) {
            const page = await usage({ ...asked, after });
            expect(page.items.length).toBeLessThanOrEqual(limit);
            items.push(...page.items);
            if (page.next === undefined) break;
            expect(page.items).toHaveLength(limit);
            after = page.next;
          }
          const expected = new Map<string, number>();
          for (const { connectorId: of, action, at } of made) {
            if (connectorId !== undefined && of !== connectorId) continue;
            if (at < (since ?? 0) || at >= (until ?? Number.POSITIVE_INFINITY)) continue;
            const begins = Math.floor(at / (per === "hour" ? hour : 24 * hour)) * (per === "hour" ? hour : 24 * hour);
            const key = `${new Date(begins).toISOString()} ${of} ${action}`;
            expected.set(key, (expected.get(key) ?? 0) + 1);
          }
          const listed = items.map((item) => [`${item.period} ${item.connectorId} ${item.action}`, item.requests]);
          expect(new Map(listed as [string, number][])).toEqual(expected);
          expect(listed).toHaveLength(expected.size);
        },
      ),
      { numRuns: 60 },
    );
  });

  test("goes back 30 days unless it is asked for more, and a year at most", async () => {
    const clock = clockAt();
    const { connect, simulator } = await playedApp(played(), { clock });
    simulator.on(read, fine);
    const { invoke, connectors } = await connect();
    await invoke("read", { id: "1" });
    await clock.advance(31 * 86_400_000);
    expect((await connectors.usage()).items).toEqual([]);
    const since = new Date(start).toISOString();
    expect((await connectors.usage({ since })).items).toMatchObject([{ requests: 1 }]);
    await clock.advance(400 * 86_400_000);
    await expect(connectors.usage({ since })).rejects.toThrow(InvalidInput);
    const until = new Date(start + 86_400_000).toISOString();
    expect((await connectors.usage({ since, until })).items).toHaveLength(1);
  });

  test("refuses a cursor that is none of its own, and shows nothing of another tenant", async () => {
    const { app, connect, simulator } = await playedApp(played());
    simulator.on(read, fine).on(write, fine);
    const { invoke, connectors, connectorId } = await connect();
    await invoke("read", { id: "1" });
    await invoke("write");
    const { next } = await connectors.usage({ limit: 1 });
    for (const after of ["x", "e30", Buffer.from('["a","b","c","d"]').toString("base64url")])
      await expect(connectors.usage({ after })).rejects.toThrow(InvalidInput);
    await expect(connectors.usage({ per: "hour", after: next })).rejects.toThrow(InvalidInput);
    const other = app.as({ tenant: "globex", user: "bob" }).connectors;
    for (const asked of [{}, { connectorId }, { after: next }]) expect(await other.usage(asked)).toEqual({ items: [] });
  });
});
