import { context, trace } from "@opentelemetry/api";
import { describe, expect, test } from "vitest";
import { benchOn } from "./scenarios/bench.ts";
import { lab as labOfTests } from "./scenarios/lab.ts";
import { inMemoryPlace } from "./scenarios/place.ts";
import { recordSpans } from "./scenarios/spans.ts";

const spans = recordSpans();
const bench = benchOn(inMemoryPlace);

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
    const named = (name: string) => spans.all().filter((span) => span.name === name);
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

  test("a refusal marks its span with the error's code", async () => {
    const { lab } = (await bench.start()).as({ tenant: bench.tenant(), user: "ann" });
    await expect(lab.add({ counterId: "c", by: 5_000 })).rejects.toThrow();
    const [span] = spans.all();
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
