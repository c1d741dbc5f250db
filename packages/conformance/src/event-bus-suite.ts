import type { CloudEvent, EventBus } from "@armature/core";
import { afterAll, beforeAll, expect, vi } from "vitest";
import { fresh } from "./expectations.ts";
import { describeSuite, type SuiteOptions } from "./suite.ts";

export interface EventBusSetup {
  readonly bus: EventBus;
  /** The same bus as another process sees it; the same object when absent. */
  readonly elsewhere?: EventBus;
  /** The same bus once more, in a process that dies when `kill` is called: what it does then reaches nobody. */
  victim?(): Promise<{ readonly bus: EventBus; kill(): Promise<void> }>;
  /** Takes away what carries the events, until the function is called that it gives. */
  loseBackend?(): Promise<() => Promise<void>>;
}

/**
 * What every `EventBus` must do. The bus may carry other things; the suite closes it at the end, and `elsewhere` too.
 * Tests of deaths and outages are skipped where the setup cannot bring them about.
 */
export function eventBusSuite(
  adapter: string,
  setup: () => EventBus | EventBusSetup | Promise<EventBus | EventBusSetup>,
  options: SuiteOptions = {},
): void {
  describeSuite("EventBus", adapter, options, (test) => {
    let ready: EventBusSetup;
    let bus: EventBus;
    let elsewhere: EventBus;
    const open: { close(): Promise<void> }[] = [];
    beforeAll(async () => {
      const made = await setup();
      ready = "bus" in made ? made : { bus: made };
      bus = ready.bus;
      elsewhere = ready.elsewhere ?? bus;
    });
    afterAll(async () => {
      await Promise.all(open.map((each) => each.close()));
      await bus?.close();
      await elsewhere?.close();
    });

    const subscribe = async (
      group: string,
      sources: readonly string[],
      handle: (event: CloudEvent) => Promise<void>,
      on = bus,
    ) => {
      const subscription = await on.subscribe({ group, sources, handle });
      open.push(subscription);
      return subscription;
    };
    /** A group that writes down the ids that it gets. At least once is allowed: only the first delivery counts. */
    const record = async (source: string, group = fresh("group")) => {
      const seen = new Received();
      const subscription = await subscribe(group, [source], async (event) => seen.add(event));
      return { seen, group, subscription };
    };
    const newSource = () => `/contexts/${fresh("ctx")}`;

    test("an event arrives as it was published", async () => {
      const source = newSource();
      const { seen } = await record(source);
      const event = cloudEvent(source, "order/ord_1", 1, {
        data: { name: "日本語 🗝️", nested: [{ a: null, "": [] }], text: "\u0001\r\n\"'\\" },
        onbehalfof: "user:ann",
      });
      await bus.publish([event]);
      await seen.until(1);
      expect(seen.events[0]).toEqual(event);
      expect(seen.events[0]).not.toBe(event);
    });

    test("publishing nothing is fine", async () => {
      await expect(bus.publish([])).resolves.toBeUndefined();
    });

    test("a large event arrives whole", async () => {
      const source = newSource();
      const { seen } = await record(source);
      const event = cloudEvent(source, "order/ord_1", 1, { data: { text: "0123456789abcdef".repeat(16_384) } });
      await bus.publish([event]);
      await seen.until(1);
      expect(seen.events[0]).toEqual(event);
    });

    test("the events of each subject arrive in the order in which they were published", async () => {
      const source = newSource();
      const { seen } = await record(source);
      const subjects = Array.from({ length: 8 }, (_, at) => `order/ord_${at}`);
      for (let batch = 0; batch < 5; batch += 1)
        await bus.publish(
          [0, 1, 2, 3].flatMap((at) => subjects.map((subject) => cloudEvent(source, subject, batch * 4 + at + 1))),
        );
      await seen.until(160);
      for (const subject of subjects)
        expect(seen.sequences(subject)).toEqual(Array.from({ length: 20 }, (_, at) => at + 1));
    });

    test("events that many publish at once all arrive", async () => {
      const source = newSource();
      const { seen } = await record(source);
      const publishers = Array.from({ length: 20 }, async (_, at) => {
        for (let sequence = 1; sequence <= 5; sequence += 1)
          await bus.publish([cloudEvent(source, `order/ord_${at}`, sequence)]);
      });
      await Promise.all(publishers);
      await seen.until(100);
      for (let at = 0; at < 20; at += 1) expect(seen.sequences(`order/ord_${at}`)).toEqual([1, 2, 3, 4, 5]);
    });

    test("a group gets the events of the sources that it named, and no others", async () => {
      const [first, second, other] = [newSource(), newSource(), newSource()];
      const seen = new Received();
      await subscribe(fresh("group"), [first, second], async (event) => seen.add(event));
      await bus.publish([cloudEvent(other, "order/a", 1), cloudEvent(first, "order/a", 1)]);
      await bus.publish([cloudEvent(`${first}-2`, "order/a", 1), cloudEvent(second, "order/a", 1)]);
      await seen.until(2);
      expect(seen.events.map((event) => event.source).sort()).toEqual([first, second].sort());
    });

    test("every group gets every event", async () => {
      const source = newSource();
      const groups = [await record(source), await record(source), await record(source)];
      await bus.publish([cloudEvent(source, "order/a", 1), cloudEvent(source, "order/b", 1)]);
      for (const { seen } of groups) await seen.until(2);
    });

    test("of the members of a group one handles an event, and never two of one subject at once", async () => {
      const source = newSource();
      const group = fresh("group");
      const seen = new Received();
      const busy = new Set<string>();
      let overlaps = 0;
      const member = async (event: CloudEvent) => {
        if (busy.has(event.subject)) overlaps += 1;
        busy.add(event.subject);
        await new Promise((resolve) => setImmediate(resolve));
        busy.delete(event.subject);
        seen.add(event);
      };
      for (let count = 0; count < 3; count += 1) await subscribe(group, [source], member);
      const subjects = ["order/a", "order/b", "order/c"];
      await bus.publish([1, 2, 3, 4, 5, 6].flatMap((n) => subjects.map((subject) => cloudEvent(source, subject, n))));
      await seen.until(18);
      expect(overlaps).toBe(0);
      expect(seen.repeats).toBe(0);
      for (const subject of subjects) expect(seen.sequences(subject)).toEqual([1, 2, 3, 4, 5, 6]);
    });

    test("an event whose handler throws comes again, and nothing of its subject in between", async () => {
      const source = newSource();
      const calls: number[] = [];
      const seen = new Received();
      await subscribe(fresh("group"), [source], (event) => {
        calls.push(event.sequence);
        // Once by throwing, once by rejecting.
        if (calls.length === 2) throw new Error("not now");
        if (calls.length === 3) return Promise.reject(new Error("not yet"));
        seen.add(event);
        return Promise.resolve();
      });
      await bus.publish([1, 2, 3].map((sequence) => cloudEvent(source, "order/a", sequence)));
      await seen.until(3);
      expect(calls).toEqual([1, 2, 2, 2, 3]);
    });

    test("a subject that fails does not hold up the others", async () => {
      const source = newSource();
      const seen = new Received();
      let healed = false;
      await subscribe(fresh("group"), [source], async (event) => {
        if (event.subject === "order/sick" && !healed) throw new Error("still sick");
        seen.add(event);
      });
      await bus.publish([cloudEvent(source, "order/sick", 1), cloudEvent(source, "order/sick", 2)]);
      await bus.publish([1, 2, 3].map((sequence) => cloudEvent(source, "order/well", sequence)));
      await seen.until(3);
      expect(seen.sequences("order/well")).toEqual([1, 2, 3]);
      expect(seen.sequences("order/sick")).toEqual([]);
      healed = true;
      await seen.until(5);
      expect(seen.sequences("order/sick")).toEqual([1, 2]);
    });

    test("a group that fails does not hold up another group", async () => {
      const source = newSource();
      const failed = new Gate();
      const failing = await subscribe(fresh("group"), [source], async () => {
        failed.open();
        throw new Error("always");
      });
      const { seen } = await record(source);
      await bus.publish([1, 2, 3].map((sequence) => cloudEvent(source, "order/a", sequence)));
      await seen.until(3);
      expect(seen.sequences("order/a")).toEqual([1, 2, 3]);
      await failed.passed;
      await failing.close();
    });

    test("a group that is away gets what was published meanwhile when it comes back", async () => {
      const source = newSource();
      const { group, seen, subscription } = await record(source);
      await bus.publish([cloudEvent(source, "order/a", 1)]);
      await seen.until(1);
      await subscription.close();
      await bus.publish([2, 3].map((sequence) => cloudEvent(source, "order/a", sequence)));
      expect(seen.sequences("order/a")).toEqual([1]);
      const again = await record(source, group);
      await again.seen.until(2);
      expect(again.seen.sequences("order/a").filter((sequence) => sequence > 1)).toEqual([2, 3]);
    });

    test("closing waits for the handler that is at work, and then nothing is handled any more", async () => {
      const source = newSource();
      const started = new Gate();
      const finish = new Gate();
      const order: string[] = [];
      const subscription = await subscribe(fresh("group"), [source], async (event) => {
        order.push(`begin ${event.sequence}`);
        started.open();
        await finish.passed;
        order.push(`end ${event.sequence}`);
      });
      await bus.publish([1, 2].map((sequence) => cloudEvent(source, "order/a", sequence)));
      await started.passed;
      const closing = subscription.close().then(() => order.push("closed"));
      await new Promise((resolve) => setImmediate(resolve));
      expect(order).toEqual(["begin 1"]);
      finish.open();
      await closing;
      expect(order).toEqual(["begin 1", "end 1", "closed"]);
      await subscription.close();
      const { seen } = await record(source);
      await bus.publish([cloudEvent(source, "order/a", 3)]);
      await seen.until(1);
      expect(order).toEqual(["begin 1", "end 1", "closed"]);
    });

    test("an event whose handler failed when the member left goes to the next member", async () => {
      const source = newSource();
      const group = fresh("group");
      const started = new Gate();
      const leave = new Gate();
      const subscription = await subscribe(group, [source], async () => {
        started.open();
        await leave.passed;
        throw new Error("shutting down");
      });
      await bus.publish([1, 2].map((sequence) => cloudEvent(source, "order/a", sequence)));
      await started.passed;
      const closing = subscription.close();
      leave.open();
      await closing;
      const { seen } = await record(source, group);
      await seen.until(2);
      expect(seen.sequences("order/a")).toEqual([1, 2]);
    });

    test("what one handler does to an event changes it for nobody else", async () => {
      const source = newSource();
      const event = cloudEvent(source, "order/a", 1, { data: { list: [1] } });
      let calls = 0;
      const deliveries: CloudEvent[] = [];
      const seen = new Received();
      const careless = async (delivered: CloudEvent) => {
        calls += 1;
        deliveries.push(structuredClone(delivered));
        if (!Object.isFrozen(delivered.data["list"])) (delivered.data["list"] as number[]).push(2);
        if (calls === 1) throw new Error("again");
        seen.add(delivered);
      };
      await subscribe(fresh("group"), [source], careless);
      const { seen: other } = await record(source);
      await bus.publish([event]);
      (event.data["list"] as number[]).push(3);
      await seen.until(1);
      await other.until(1);
      for (const delivered of [...deliveries, other.events[0]!]) expect(delivered.data).toEqual({ list: [1] });
    });

    test("members of two instances share a group: each event once, in order, never two of a subject at once", async () => {
      const source = newSource();
      const group = fresh("group");
      const seen = new Received();
      const watch = new Watch(seen);
      for (const on of [bus, elsewhere, bus, elsewhere])
        await subscribe(group, [source], (event) => watch.handle(event), on);
      const subjects = Array.from({ length: 20 }, (_, at) => `order/ord_${at}`);
      for (let sequence = 1; sequence <= 10; sequence += 1)
        await (sequence % 2 === 0 ? bus : elsewhere).publish(
          subjects.map((subject) => cloudEvent(source, subject, sequence)),
        );
      await seen.until(200);
      expect([watch.overlaps, seen.repeats]).toEqual([0, 0]);
      for (const subject of subjects)
        expect(seen.sequences(subject)).toEqual(Array.from({ length: 10 }, (_, at) => at + 1));
    });

    test("members may come and go while events are published: none is lost, repeated or overtaken", async () => {
      const source = newSource();
      const group = fresh("group");
      const seen = new Received();
      const watch = new Watch(seen);
      const join = (on: EventBus) => subscribe(group, [source], (event) => watch.handle(event), on);
      const subjects = Array.from({ length: 10 }, (_, at) => `order/ord_${at}`);
      let member = await join(bus);
      for (let sequence = 1; sequence <= 12; sequence += 1) {
        await bus.publish(subjects.map((subject) => cloudEvent(source, subject, sequence)));
        if (sequence % 3 !== 0) continue;
        const next = await join(sequence % 2 === 0 ? bus : elsewhere);
        await member.close();
        member = next;
      }
      await seen.until(120);
      expect([watch.overlaps, seen.repeats]).toEqual([0, 0]);
      for (const subject of subjects)
        expect(seen.sequences(subject)).toEqual(Array.from({ length: 12 }, (_, at) => at + 1));
    });

    test("whatever fails and however often, nothing of a subject overtakes and nothing is handled twice", async () => {
      const random = pseudoRandom(42);
      const source = newSource();
      const group = fresh("group");
      const seen = new Received();
      const calls = new Map<string, { readonly sequence: number; readonly failed: boolean }[]>();
      const watch = new Watch(seen);
      const handle = async (event: CloudEvent) => {
        const failed = random() < 0.2;
        calls.set(event.subject, [...(calls.get(event.subject) ?? []), { sequence: event.sequence, failed }]);
        if (failed) throw new Error("as chance has it");
        await watch.handle(event);
      };
      for (const on of [bus, elsewhere]) await subscribe(group, [source], handle, on);
      const subjects = Array.from({ length: 12 }, (_, at) => `order/ord_${at}`);
      const publisher = async (mine: readonly string[], on: EventBus) => {
        for (let sequence = 1; sequence <= 10; sequence += 1)
          await on.publish(mine.map((subject) => cloudEvent(source, subject, sequence)));
      };
      await Promise.all([publisher(subjects.slice(0, 6), bus), publisher(subjects.slice(6), elsewhere)]);
      await seen.until(120);
      expect([watch.overlaps, seen.repeats]).toEqual([0, 0]);
      for (const [subject, made] of calls)
        for (const [at, call] of made.entries()) {
          const before = made[at - 1];
          const due = before === undefined ? 1 : before.failed ? before.sequence : before.sequence + 1;
          expect([subject, call.sequence]).toEqual([subject, due]);
        }
    });

    test("what a member had that was killed goes to another, in order", async (context) => {
      if (ready.victim === undefined) return context.skip("the setup cannot kill a member");
      const source = newSource();
      const group = fresh("group");
      const started = new Gate();
      const never = new Gate();
      const victim = await ready.victim();
      const hanging: string[] = [];
      await victim.bus.subscribe({
        group,
        sources: [source],
        handle: async (event) => {
          hanging.push(event.subject);
          started.open();
          await never.passed;
        },
      });
      const subjects = ["order/a", "order/b", "order/c"];
      await bus.publish([1, 2, 3].flatMap((n) => subjects.map((subject) => cloudEvent(source, subject, n))));
      await started.passed;
      await victim.kill();
      try {
        const { seen } = await record(source, group);
        await bus.publish(subjects.map((subject) => cloudEvent(source, subject, 4)));
        await seen.until(12);
        for (const subject of subjects) expect(seen.sequences(subject)).toEqual([1, 2, 3, 4]);
        expect(hanging).toEqual([...new Set(hanging)]);
      } finally {
        never.open();
        await victim.bus.close();
      }
    });

    test("while the backend is away publishing is refused soon; after that everything arrives, in order", async (context) => {
      if (ready.loseBackend === undefined) return context.skip("the setup cannot take the backend away");
      const source = newSource();
      const { seen } = await record(source);
      await bus.publish([1, 2].map((sequence) => cloudEvent(source, "order/a", sequence)));
      await seen.until(2);
      const bringBack = await ready.loseBackend();
      const waiting = [3, 4].map((sequence) => cloudEvent(source, "order/a", sequence));
      const asked = performance.now();
      await expect(bus.publish(waiting)).rejects.toMatchObject({
        kind: expect.stringMatching(/^(?:unavailable|timeout)$/),
      });
      expect(performance.now() - asked).toBeLessThan(10_000);
      await expect(bus.ping()).rejects.toThrow();
      await bringBack();
      // As the relay does: the same batch, until it is taken.
      await vi.waitFor(() => bus.publish(waiting), { timeout: 15_000, interval: 20 });
      await bus.publish([cloudEvent(source, "order/a", 5)]);
      await seen.until(5);
      expect(seen.sequences("order/a")).toEqual([1, 2, 3, 4, 5]);
    });

    test("it answers a ping", async () => {
      await expect(bus.ping()).resolves.toBeUndefined();
    });
  });
}

function cloudEvent(source: string, subject: string, sequence: number, more: Partial<CloudEvent> = {}): CloudEvent {
  return {
    specversion: "1.0",
    id: fresh("evt"),
    source,
    type: "order.changed",
    subject,
    time: "2026-01-02T03:04:05.678Z",
    datacontenttype: "application/json",
    data: {},
    dataversion: 1,
    tenant: "acme",
    sequence,
    actor: "user:ann",
    correlationid: "cor_1",
    causationid: "call_1",
    traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    ...more,
  };
}

class Received {
  readonly events: CloudEvent[] = [];
  repeats = 0;
  readonly #ids = new Set<string>();
  readonly #waiting = new Set<{ readonly count: number; resolve(): void }>();

  add(event: CloudEvent): void {
    if (this.#ids.has(event.id)) {
      this.repeats += 1;
      return;
    }
    this.#ids.add(event.id);
    this.events.push(event);
    for (const waiter of this.#waiting)
      if (this.events.length >= waiter.count) {
        this.#waiting.delete(waiter);
        waiter.resolve();
      }
  }

  /** Resolves when this many different events have come; the test's own timeout ends a wait in vain. */
  until(count: number): Promise<void> {
    if (this.events.length >= count) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.add({ count, resolve }));
  }

  sequences(subject: string): number[] {
    return this.events.filter((event) => event.subject === subject).map((event) => event.sequence);
  }
}

/** Notices handlers of one subject that are at work at the same time. */
class Watch {
  overlaps = 0;
  readonly #seen: Received;
  readonly #busy = new Set<string>();

  constructor(seen: Received) {
    this.#seen = seen;
  }

  async handle(event: CloudEvent): Promise<void> {
    if (this.#busy.has(event.subject)) this.overlaps += 1;
    this.#busy.add(event.subject);
    await new Promise((resolve) => setImmediate(resolve));
    this.#busy.delete(event.subject);
    this.#seen.add(event);
  }
}

/** The same numbers each time (mulberry32). */
function pseudoRandom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

class Gate {
  readonly passed: Promise<void>;
  open!: () => void;

  constructor() {
    this.passed = new Promise((resolve) => {
      this.open = resolve;
    });
  }
}
