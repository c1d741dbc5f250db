import { describe, expect, it } from "vitest";
import { z } from "zod";
import {
  AggregateRoot,
  defineAggregate,
  pendingEvents,
  restoreAggregate,
  storedState,
  type Withholding,
} from "./aggregate.ts";
import { CorruptData, NotFound } from "./errors.ts";
import { defineEvent, type EventOf } from "./event.ts";
import { encodeIndexValue } from "./index-value.ts";
import type { JsonObject } from "./schema.ts";

const AccountOpened = defineEvent("account.opened", {
  version: 1,
  data: z.strictObject({ owner: z.string(), tags: z.array(z.string()) }),
});
const AccountClosed = defineEvent("account.closed", { version: 1, data: z.strictObject({ reason: z.string() }) });
const AccountKeyed = defineEvent("account.keyed", { version: 1, data: z.strictObject({}) });

const accountState = z.strictObject({
  owner: z.string().max(20),
  status: z.enum(["open", "closed"]),
  tags: z.array(z.string()),
  keyHash: z.string().optional(),
  closedFor: z.string().nullable(),
});
type AccountState = z.infer<typeof accountState>;
type AccountEvent =
  | EventOf<typeof AccountOpened>
  | EventOf<typeof AccountClosed>
  | Withholding<EventOf<typeof AccountKeyed>, { readonly hash: string }>;

class Account extends AggregateRoot<AccountState, AccountEvent> {
  static readonly definition = defineAggregate("account", {
    state: accountState,
    events: [AccountOpened, AccountClosed, AccountKeyed],
    index: ["status", "owner", "closedFor", "keyHash"],
    version: 2,
    migrate: ({ name, ...state }, version) => ({ ...state, owner: `${name} v${version}`, closedFor: null }),
  });

  open(owner: string, tags: string[] = []): void {
    this.raise(AccountOpened, { owner, tags });
  }

  close(reason: string): void {
    this.raise(AccountClosed, { reason });
  }

  key(hash: string): void {
    this.raise(AccountKeyed, {}, { hash });
  }

  protected override evolve(state: AccountState | undefined, event: AccountEvent): AccountState {
    switch (event.type) {
      case "account.opened":
        return { ...event.data, status: "open", closedFor: null };
      case "account.closed":
        return { ...state!, status: "closed", closedFor: event.data.reason };
      case "account.keyed":
        return { ...state!, keyHash: event.withheld.hash };
    }
  }
}

const stored = (state: JsonObject, stateVersion = 2) => ({
  type: "account",
  id: "acc_1",
  version: 7,
  stateVersion,
  state,
});
const open = { owner: "ann", status: "open", tags: [], closedFor: null };

describe("an aggregate", () => {
  it("does not exist before its first event", () => {
    const account = new Account("acc_1");
    expect(account.version).toBe(0);
    expect(() => account.state).toThrow(new NotFound({ type: "account", id: "acc_1" }));
    expect(() => storedState(account)).toThrow(NotFound);
  });

  it("changes by its events alone, and counts them", () => {
    const account = new Account("acc_1");
    account.open("ann", ["vip"]);
    account.close("moved");
    expect(account.state).toEqual({ owner: "ann", status: "closed", tags: ["vip"], closedFor: "moved" });
    expect(account.version).toBe(2);
    expect(pendingEvents(account)).toEqual([
      { definition: AccountOpened, data: { owner: "ann", tags: ["vip"] }, version: 1 },
      { definition: AccountClosed, data: { reason: "moved" }, version: 2 },
    ]);
  });

  it("keeps its state from being changed from outside, through what went in or what comes out", () => {
    const tags = ["vip"];
    const account = new Account("acc_1");
    account.open("ann", tags);
    tags.push("later");
    expect(() => (account.state.tags as string[]).push("x")).toThrow(TypeError);
    expect(() => Object.assign(account.state, { owner: "bob" })).toThrow(TypeError);
    expect(account.state.tags).toEqual(["vip"]);
    expect(pendingEvents(account)[0]!.data).toEqual({ owner: "ann", tags: ["vip"] });
  });

  it("is as it was when an event does not fit", () => {
    const account = new Account("acc_1");
    account.open("ann");
    expect(() => account.close(7 as unknown as string)).toThrow(CorruptData);
    expect(account.version).toBe(1);
    expect(account.state.status).toBe("open");
    expect(pendingEvents(account)).toHaveLength(1);
  });

  it("takes what is withheld into its state, and never into the event", () => {
    const account = new Account("acc_1");
    account.open("ann");
    account.key("canary-hash");
    expect(account.state.keyHash).toBe("canary-hash");
    expect(JSON.stringify(pendingEvents(account))).not.toContain("canary-hash");
  });
});

describe("a stored aggregate", () => {
  it("goes on where it was", () => {
    const account = restoreAggregate(new Account("acc_1"), stored(open));
    expect(account.version).toBe(7);
    expect(pendingEvents(account)).toEqual([]);
    account.close("moved");
    expect(pendingEvents(account)[0]!.version).toBe(8);
  });

  it("of an older version is migrated when it is read", () => {
    const account = restoreAggregate(new Account("acc_1"), stored({ name: "ann", status: "open", tags: [] }, 1));
    expect(account.state).toEqual({ owner: "ann v1", status: "open", tags: [], closedFor: null });
    expect(storedState(account).stateVersion).toBe(2);
  });

  it("that this code cannot read is corrupt data", () => {
    for (const unreadable of [stored(open, 3), stored({ owner: "ann" }), stored({ ...open, extra: 1 }), stored({}, 1)])
      expect(() => restoreAggregate(new Account("acc_1"), unreadable)).toThrow(CorruptData);
  });

  it("is written with its index fields in an order that a store can sort by, absent ones as null", () => {
    const account = new Account("acc_1");
    account.open("ann");
    expect(storedState(account)).toEqual({
      state: open,
      stateVersion: 2,
      index: {
        status: encodeIndexValue("open"),
        owner: encodeIndexValue("ann"),
        closedFor: encodeIndexValue(null),
        keyHash: encodeIndexValue(null),
      },
    });
  });

  it("is not written when its events made a state that does not fit", () => {
    const account = new Account("acc_1");
    account.open("a name of more than twenty letters");
    expect(() => storedState(account)).toThrow('The new state of account "acc_1" does not fit its schema: owner');
  });
});

describe("defining an aggregate", () => {
  const options = { state: z.strictObject({ a: z.string() }), events: [] };

  it("needs a type in lower snake case, and index fields that are plain names", () => {
    expect(defineAggregate("api_key", { ...options, index: ["a"] })).toMatchObject({
      type: "api_key",
      version: 1,
      index: ["a"],
    });
    for (const type of ["ApiKey", "api-key", "", "1a", "a b"])
      expect(() => defineAggregate(type, options)).toThrow("must be lower snake case");
    const odd = z.strictObject({ "a-b": z.string() });
    expect(() => defineAggregate("a", { state: odd, events: [], index: ["a-b"] })).toThrow("cannot be an index field");
  });

  it("does not take an object for an index field", () => {
    const state = z.strictObject({ where: z.strictObject({ city: z.string() }) });
    const Moved = defineEvent("place.moved", { version: 1, data: state });
    class Place extends AggregateRoot<z.infer<typeof state>, EventOf<typeof Moved>> {
      static readonly definition = defineAggregate("place", { state, events: [Moved], index: ["where"] });
      move(city: string): void {
        this.raise(Moved, { where: { city } });
      }
      protected override evolve(_state: unknown, event: EventOf<typeof Moved>): z.infer<typeof state> {
        return event.data;
      }
    }
    const place = new Place("p");
    place.move("Bern");
    expect(() => storedState(place)).toThrow('The index field "where" of place holds an object; use a plain value.');
  });
});
