import { describe, expect, test } from "vitest";
import { z } from "zod";
import { AggregateRoot, defineAggregate, type Withholding } from "../kernel/aggregate.ts";
import { CorruptData, defineError } from "../kernel/errors.ts";
import { defineEvent, type EventOf } from "../kernel/event.ts";
import { given } from "./given.ts";

const Opened = defineEvent("door.opened", { version: 1, data: z.object({ by: z.string() }) });
const Closed = defineEvent("door.closed", { version: 1, data: z.object({}) });

class AlreadyOpen extends defineError("door.already_open", {
  kind: "precondition",
  details: z.object({ by: z.string() }),
  message: ({ by }) => `The door was opened by ${by}.`,
}) {}

type Event = Withholding<EventOf<typeof Opened>, { code: string }> | EventOf<typeof Closed>;

class Door extends AggregateRoot<{ open: boolean; by: string; code: string }, Event> {
  static readonly definition = defineAggregate("door", {
    state: z.object({ open: z.boolean(), by: z.string(), code: z.string().max(4) }),
    events: [Opened, Closed],
  });

  static build(by: string, code: string): Door {
    const door = new Door("door_new");
    door.raise(Opened, { by }, { code });
    return door;
  }

  open(by: string, code: string): void {
    if (this.version > 0 && this.state.open) throw new AlreadyOpen({ by: this.state.by });
    this.raise(Opened, { by }, { code });
  }

  close(): void {
    this.raise(Closed, {});
  }

  protected override evolve(state: Door["state"] | undefined, event: Event): Door["state"] {
    if (event.type === "door.opened") return { open: true, by: event.data.by, code: event.withheld.code };
    return { ...state!, open: false };
  }
}

const openDoor = given(Door, "door_1", [[Opened, { by: "ann" }, { code: "1234" }]]);

describe("given, when, then", () => {
  test("passes when exactly the expected events were raised, and gives the aggregate", () => {
    const door = openDoor.when((it) => it.close()).then([[Closed, {}]]);
    expect(door.state).toEqual({ open: false, by: "ann", code: "1234" });
    expect(door.id).toBe("door_1");
  });

  test("what an event withholds reaches the state and is not in the event", () => {
    const door = given(Door)
      .when((it) => it.open("ann", "1234"))
      .then([[Opened, { by: "ann" }]]);
    expect(door.state.code).toBe("1234");
  });

  test("shows expected and actual events when they differ", () => {
    const acted = openDoor.when((it) => it.close());
    expect(() => acted.then([[Opened, { by: "bob" }]])).toThrow(
      'Expected the event\n  door.opened {"by":"bob"}\nbut there was the event\n  door.closed {}',
    );
    expect(() => acted.then([])).toThrow("Expected no events\nbut there was the event\n  door.closed {}");
  });

  test("a refusal where events were expected is shown with its sentence", () => {
    const acted = openDoor.when((it) => it.open("bob", "1"));
    expect(() => acted.then([])).toThrow("The door was opened by ann.");
  });

  test("a refusal is recognised by its class and details", () => {
    const acted = openDoor.when((it) => it.open("bob", "1"));
    expect(acted.thenThrows(AlreadyOpen, { by: "ann" }).code).toBe("door.already_open");
    expect(() => acted.thenThrows(AlreadyOpen, { by: "bob" })).toThrow('with {"by":"bob"}\nbut it had {"by":"ann"}');
    expect(() => acted.thenThrows(CorruptData)).toThrow("Expected CorruptData\nbut it threw");
    expect(() => openDoor.when((it) => it.close()).thenThrows(AlreadyOpen)).toThrow(
      "Expected AlreadyOpen\nbut there was the event\n  door.closed {}",
    );
  });

  test("a new aggregate that the act returns is the one that is looked at", () => {
    const door = given(Door)
      .when(() => Door.build("ann", "12"))
      .then([[Opened, { by: "ann" }]]);
    expect(door.id).toBe("door_new");
  });

  test("events of other aggregates, wrong data and missing withheld parts do not compile", () => {
    const Rang = defineEvent("bell.rang", { version: 1, data: z.object({}) });
    const wrong = () => {
      // @ts-expect-error a door does not ring
      given(Door, "1", [[Rang, {}]]);
      // @ts-expect-error somebody opened it
      given(Door, "1", [[Opened, {}, { code: "1" }]]);
      // @ts-expect-error the code is missing
      given(Door, "1", [[Opened, { by: "ann" }]]);
      // @ts-expect-error what is withheld is in no event
      openDoor.when((it) => it.close()).then([[Opened, { by: "ann" }, { code: "1" }]]);
    };
    expect(wrong).toThrow("but there was the event");
  });

  test("a state that does not fit its schema fails, although the events are right", () => {
    const acted = given(Door).when((it) => it.open("ann", "12345"));
    expect(() => acted.then([[Opened, { by: "ann" }]])).toThrow(CorruptData);
  });

  test("awaiting it by mistake fails instead of passing", async () => {
    const acted = openDoor.when((it) => it.close());
    await expect(Promise.resolve(acted)).rejects.toThrow("is not a promise");
  });
});
