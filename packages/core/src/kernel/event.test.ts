import { describe, expect, it } from "vitest";
import { z } from "zod";
import { CorruptData } from "./errors.ts";
import { defineEvent, eventData, readEvent } from "./event.ts";
import type { JsonObject } from "./schema.ts";
import type { StoredEvent } from "./store.ts";

const Renamed = defineEvent("contact.renamed", {
  version: 3,
  data: z.strictObject({ contactId: z.string(), name: z.strictObject({ first: z.string(), last: z.string() }) }),
  upcast: {
    1: ({ id, name }) => ({ contactId: id!, name: name! }),
    2: ({ contactId, name }) => {
      const [first = "", last = ""] = String(name).split(" ");
      return { contactId: contactId!, name: { first, last } };
    },
  },
});

function stored(version: number, data: JsonObject): StoredEvent {
  return {
    ...{ id: "evt_1", tenant: "acme", context: "crm", type: "contact.renamed", version, data },
    ...{ aggregateType: "contact", aggregateId: "c1", aggregateVersion: 4, time: "2026-01-01T00:00:00.000Z" },
    ...{ actor: { type: "user", id: "ann" }, correlationId: "cor", causationId: "call", traceparent: "00-a-b-01" },
  };
}

describe("defining an event", () => {
  const data = z.strictObject({});

  it("needs a name that reads as a fact about something", () => {
    for (const type of ["contact.renamed", "crm.contact.renamed_again", "a.b2"])
      expect(defineEvent(type, { version: 1, data }).type).toBe(type);
    for (const type of [
      "renamed",
      "Contact.renamed",
      "contact.",
      ".renamed",
      "contact renamed",
      "contact..renamed",
      "",
    ])
      expect(() => defineEvent(type, { version: 1, data })).toThrow(`The event type "${type}" must read like`);
  });

  it("needs a version, and a way up from each earlier one", () => {
    for (const version of [0, -1, 1.5, Number.NaN])
      expect(() => defineEvent("a.b", { version, data })).toThrow("needs a version of 1 or more");
    expect(() => defineEvent("a.b", { version: 3, data, upcast: { 1: (old) => old } })).toThrow("has no upcast from 2");
  });
});

describe("a new event's data", () => {
  it("is checked, copied and frozen", () => {
    const given = { contactId: "c1", name: { first: "Ann", last: "Lee" } };
    const data = eventData(Renamed, given);
    given.name.first = "changed";
    expect(data).toEqual({ contactId: "c1", name: { first: "Ann", last: "Lee" } });
    expect(Object.isFrozen(data.name)).toBe(true);
    expect(() => eventData(Renamed, { contactId: "c1" } as never)).toThrow(CorruptData);
    expect(() => eventData(Renamed, { ...given, secret: "x" } as never)).toThrow("secret is not a known field");
  });
});

describe("a stored event", () => {
  it("is read as the newest version, whichever version it was written in", () => {
    const newest = { contactId: "c1", name: { first: "Ann", last: "Lee" } };
    for (const event of [
      stored(1, { id: "c1", name: "Ann Lee" }),
      stored(2, { contactId: "c1", name: "Ann Lee" }),
      stored(3, newest),
    ]) {
      const read = readEvent(Renamed, event);
      expect(read).toEqual({ ...event, data: newest });
    }
  });

  it("leaves what was stored as it was", () => {
    const event = stored(1, { id: "c1", name: "Ann Lee" });
    readEvent(Renamed, event);
    expect(event).toEqual(stored(1, { id: "c1", name: "Ann Lee" }));
  });

  it("that this code cannot know is corrupt data, and says which event it is", () => {
    for (const event of [stored(4, {}), stored(0, {}), stored(3, { contactId: "c1" })])
      expect(() => readEvent(Renamed, event)).toThrow(CorruptData);
    expect(() => readEvent(Renamed, stored(4, {}))).toThrow(
      'The event "contact.renamed" evt_1 (version 4) does not fit its schema: version is newer than 3, the newest known here',
    );
  });
});
