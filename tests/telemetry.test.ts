import { once } from "node:events";
import { createServer, type IncomingHttpHeaders } from "node:http";
import type { AddressInfo } from "node:net";
import { createArmature } from "@armature/core";
import { inMemory } from "@armature/core/in-memory";
import { startServer } from "@armature/server-express";
import { type Attributes, context, SpanKind, SpanStatusCode, trace } from "@opentelemetry/api";
import { describe, expect, test, vi } from "vitest";
import { benchOn } from "./scenarios/bench.ts";
import { lab as labOfTests } from "./scenarios/lab.ts";
import { inMemoryPlace } from "./scenarios/place.ts";
import { salesContext } from "./scenarios/sales.ts";
import { recordMetrics, recordSpans } from "./scenarios/spans.ts";

const spans = recordSpans();
const metrics = recordMetrics();
const bench = benchOn(inMemoryPlace);

const named = (name: string) => spans.all().filter((span) => span.name === name);

describe("with OpenTelemetry's SDK in the host", () => {
  test("a call, what it calls, its events' handlers and what it sends are one trace", async () => {
    const app = await bench.start({
      lab: {
        act: async ({ text }, ctx) => {
          await ctx.use(labOfTests).add({ counterId: "c", note: text });
          return { text };
        },
      },
    });
    const tenant = bench.tenant();
    const { lab, desk, audit } = app.as({ tenant, user: "ann" });
    await lab.act({ text: "canary", secret: "canary" });
    await desk.tell({ noteId: "n", counterId: "d" });
    await app.settled();
    const [act] = named("lab.act");
    const [add, sentAdd] = named("lab.add");
    expect(add!.parentSpanContext?.spanId).toBe(act!.spanContext().spanId);
    expect(act!.attributes).toEqual({
      "armature.operation": "lab.act",
      "armature.kind": "action",
      "armature.tenant": tenant,
      "armature.actor": "user:ann",
    });
    const trace = act!.spanContext().traceId;
    for (const consumer of ["desk.first", "desk.second"])
      expect(named(consumer)[0]!.spanContext().traceId, consumer).toBe(trace);
    expect(sentAdd!.spanContext().traceId).toBe(named("desk.tell")[0]!.spanContext().traceId);
    const rows = (await audit.list()).items.filter(({ operation }) => operation === "lab.act");
    expect(rows.map(({ traceId }) => traceId)).toEqual([trace]);
    const shown = JSON.stringify(spans.all().map(({ name, attributes, events }) => [name, attributes, events]));
    expect(shown).not.toContain("canary");
  });

  test("an HTTP request, its operation, its commit and the handlers of its events are one trace, the client's", async () => {
    const app = await bench.start();
    const tenant = bench.tenant();
    const server = await startServer({ app, authenticate: async () => ({ tenant, user: "ann" }) });
    const trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    const response = await fetch(`${server.origin}/counters/c/add`, {
      method: "POST",
      headers: { "content-type": "application/json", traceparent: `00-${trace}-00f067aa0ba902b7-01` },
      body: "{}",
    });
    expect(response.status).toBe(200);
    await app.settled();
    await server.close();
    const [request] = spans.all().filter((span) => span.kind === SpanKind.SERVER);
    const [add] = named("lab.add");
    const [commit] = named("commit").filter((span) => span.parentSpanContext?.spanId === add!.spanContext().spanId);
    expect(request!.parentSpanContext?.spanId).toBe("00f067aa0ba902b7");
    expect(request!.attributes).toMatchObject({ "http.request.method": "POST", "http.response.status_code": 200 });
    expect(add!.parentSpanContext?.spanId).toBe(request!.spanContext().spanId);
    expect(commit).toBeDefined();
    for (const consumer of ["desk.first", "desk.second"])
      expect(named(consumer)[0]!.parentSpanContext?.spanId, consumer).toBe(add!.spanContext().spanId);
    for (const span of [request!, add!, commit!, ...named("desk.first"), ...named("desk.second")])
      expect(span.spanContext().traceId).toBe(trace);
  });

  test("a call's commits and its events' way to the bus are in its trace, or linked to it", async () => {
    const app = await bench.start();
    const tenant = bench.tenant();
    await app.as({ tenant, user: "ann" }).lab.add({ counterId: "c" });
    await app.settled();
    const [add] = named("lab.add");
    const [commit] = named("commit").filter((span) => span.parentSpanContext?.spanId === add!.spanContext().spanId);
    expect(commit!.attributes).toEqual({
      "armature.tenant": tenant,
      "armature.contexts": ["lab"],
      "armature.commit.events": 1,
      "armature.commit.outcome": "committed",
    });
    const [publish] = named("publish lab");
    expect(publish).toMatchObject({ kind: SpanKind.PRODUCER, parentSpanContext: undefined });
    expect(publish!.attributes["messaging.batch.message_count"]).toBe(1);
    expect(publish!.links.map((link) => link.context.spanId)).toEqual([add!.spanContext().spanId]);
    expect(named("desk.first")[0]).toMatchObject({ kind: SpanKind.CONSUMER });
  });

  test("a lost race is a commit that conflicted, and no failure", async () => {
    const app = await bench.start();
    const { lab } = app.as({ tenant: bench.tenant(), user: "ann" });
    await lab.add({ counterId: "c" });
    await Promise.all([lab.add({ counterId: "c" }), lab.add({ counterId: "c" })]);
    const conflicts = named("commit").filter((span) => span.attributes["armature.commit.outcome"] === "conflict");
    expect(conflicts).toHaveLength(1);
    expect(conflicts[0]!.status.code).toBe(SpanStatusCode.UNSET);
    expect(await metrics.points("armature.commit.duration", { "armature.commit.outcome": "conflict" })).toHaveLength(1);
  });

  test("a request to a provider has a span that names the host and nothing behind it, and sends no trace", async () => {
    const server = createServer((request, response) => {
      received.push(request.headers);
      response.writeHead(request.url?.startsWith("/bad") ? 502 : 200, { "content-type": "application/json" }).end("{}");
    });
    const received: IncomingHttpHeaders[] = [];
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    const origin = `http://127.0.0.1:${port}`;
    try {
      const app = await bench.start({
        allowedOrigins: [origin],
        lab: {
          act: async ({ text }, ctx) => {
            await ctx.http.send({ method: "GET", url: `${origin}/${text}/canary?key=canary` });
            return { text };
          },
        },
      });
      const { lab } = app.as({ tenant: bench.tenant(), user: "ann" });
      await lab.act({ text: "good" });
      await lab.act({ text: "bad" });
      const where = { "http.request.method": "GET", "server.address": "127.0.0.1", "server.port": port };
      const requests = spans.all().filter((span) => span.kind === SpanKind.CLIENT);
      expect(requests.map(({ name, attributes, status }) => [name, attributes, status.code])).toEqual([
        ["GET", { ...where, "http.response.status_code": 200 }, SpanStatusCode.UNSET],
        ["GET", { ...where, "http.response.status_code": 502, "error.type": "502" }, SpanStatusCode.ERROR],
      ]);
      expect(requests[0]!.parentSpanContext?.spanId).toBe(named("lab.act")[0]!.spanContext().spanId);
      expect(received).toHaveLength(2);
      for (const headers of received) expect(headers).not.toHaveProperty("traceparent");
      expect(await metrics.points("http.client.request.duration", { "server.port": port })).toHaveLength(2);
    } finally {
      server.close();
    }
  });

  test("calls, deliveries and what waits are counted, without a word of who", async () => {
    const app = await bench.start({
      desk: {
        second: () => {
          throw new Error("canary");
        },
      },
      relay: { maxAttempts: 1 },
    });
    const tenant = bench.tenant();
    const { lab } = app.as({ tenant, user: "ann" });
    const count = async (name: string, attributes: Attributes) =>
      (await metrics.points(name, attributes)).reduce(
        (sum, { value }) => sum + (typeof value === "number" ? value : value.count),
        0,
      );
    const counts = async () => ({
      added: await count("armature.operation.duration", { "armature.operation": "lab.add" }),
      refused: await count("armature.operation.duration", { "error.type": "lab.too_much" }),
      handled: await count("armature.deliveries", {
        "armature.consumer": "desk.first",
        "armature.delivery.outcome": "handled",
      }),
      parked: await count("armature.deliveries", {
        "armature.consumer": "desk.second",
        "armature.delivery.outcome": "parked",
      }),
      lag: await count("armature.delivery.lag", { "armature.consumer": "desk.first" }),
      published: await count("armature.relay.published", { "armature.context": "lab" }),
    });
    const before = await counts();
    await lab.add({ counterId: "c" });
    await expect(lab.add({ counterId: "c", by: 5_000 })).rejects.toThrow();
    await app.settled();
    expect(await counts()).toEqual({
      added: before.added + 2,
      refused: before.refused + 1,
      handled: before.handled + 1,
      parked: before.parked + 1,
      lag: before.lag + 1,
      published: before.published + 1,
    });
    for (const name of ["armature.operation.duration", "armature.deliveries", "armature.commit.duration"])
      expect(JSON.stringify(await metrics.points(name))).not.toMatch(new RegExp(`${tenant}|ann|canary`));
  });

  test("the outbox is looked into whenever somebody collects, and no more once the application is closed", async () => {
    const store = await bench.place.open();
    const size = vi.spyOn(store.outbox, "size");
    const app = await bench.start({ store, relay: false });
    const { lab } = app.as({ tenant: bench.tenant(), user: "ann" });
    await lab.add({ counterId: "c" });
    const waiting = () => metrics.points("armature.outbox.size", { "armature.context": "lab" });
    expect((await waiting()).at(-1)?.value).toBeGreaterThan(0);
    const looks = size.mock.calls.length;
    expect(looks).toBeGreaterThan(0);
    await app.close();
    await waiting();
    expect(size.mock.calls).toHaveLength(looks);
  });

  test("a projection's lag is the number of events behind the rows that are read", async () => {
    const app = await createArmature({ store: inMemory(), contexts: [salesContext()], authorizer: () => true });
    const lag = async () =>
      (await metrics.points("armature.projection.lag", { "armature.projection": "sales.by_customer" })).at(-1)?.value;
    const operator = app.as({ tenant: "host", system: "operator" }).projections;
    await app.settled();
    expect(await lag()).toBe(0);
    await operator.pause({ projection: "sales.by_customer" });
    for (const amount of [1, 2]) await app.as({ tenant: "acme", user: "ann" }).sales.make({ customer: "bo", amount });
    expect(await lag()).toBe(2);
    await operator.resume({ projection: "sales.by_customer" });
    await app.settled();
    expect(await lag()).toBe(0);
    await app.close();
  });

  test("a refusal marks its span with the error's code", async () => {
    const { lab } = (await bench.start()).as({ tenant: bench.tenant(), user: "ann" });
    await expect(lab.add({ counterId: "c", by: 5_000 })).rejects.toThrow();
    const [span] = named("lab.add");
    expect(span).toMatchObject({ name: "lab.add", status: { code: 2, message: "lab.too_much" } });
    expect(span!.attributes["error.type"]).toBe("lab.too_much");
  });

  test("a trace that is not recorded stays one trace, and says of itself that it is not", async () => {
    spans.sample(false);
    const app = await bench.start();
    const { desk, audit } = app.as({ tenant: bench.tenant(), user: "ann" });
    const tracer = trace.getTracer("host");
    const hostTrace = await tracer.startActiveSpan("request", async (span) => {
      await desk.tell({ noteId: "n", counterId: "c" });
      span.end();
      return trace.getSpan(context.active())!.spanContext().traceId;
    });
    await app.settled();
    expect(spans.all()).toEqual([]);
    const { items } = await audit.events();
    expect(items.length).toBeGreaterThan(3);
    for (const { traceparent } of items) expect(traceparent).toMatch(new RegExp(`^00-${hostTrace}-[0-9a-f]{16}-00$`));
    expect((await audit.list()).items.every(({ traceId }) => traceId === hostTrace)).toBe(true);
  });
});
