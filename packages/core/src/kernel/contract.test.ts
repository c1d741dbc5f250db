import { describe, expect, it } from "vitest";
import { z } from "zod";
import { AggregateRoot, defineAggregate } from "./aggregate.ts";
import { atomic, defineContext } from "./context.ts";
import { action, type Contract, command, defineContract, type OperationOptions, query, stream } from "./contract.ts";
import { defineError } from "./errors.ts";
import { defineEvent } from "./event.ts";

const input = z.strictObject({ dealId: z.string() });
const output = z.object({ stage: z.string() });
const get = {
  input,
  output,
  permission: "trading:read",
  summary: "Reads a deal.",
  http: "GET /deals/{dealId}",
} as const;

class DealLost extends defineError("trading.deal_lost", {
  ...{ kind: "precondition", details: z.object({}), message: () => "The deal is lost." },
} as const) {}

/** Binds a handler to a contract with one operation that differs from a good one as given. */
function binding(change: Parameters<typeof defining>[0]) {
  return () => defineContext(defining(change)() as Contract, { handlers: { get: () => ({ stage: "won" }) } });
}

/** Defines a contract with one operation that differs from a good one as given. */
function defining(change: Partial<OperationOptions<never, never, never, never, never, string>> & object, key = "get") {
  return () => defineContract("trading", { [key]: query({ ...get, ...change } as never) });
}

describe("a contract", () => {
  it("says what a context offers, and nobody can change it", () => {
    const Won = defineEvent("deal.won", { version: 1, data: input });
    const trading = defineContract(
      "trading",
      {
        get: query(get),
        win: command({ ...get, errors: [DealLost], permission: "trading:write", http: "POST /deals/{dealId}/win" }),
        quote: action({ input, permission: "trading:quote", summary: "Asks the bank." }),
        watch: stream({ input, output, permission: "trading:read", summary: "Follows a deal." }),
      },
      { events: [Won] },
    );
    expect(trading.name).toBe("trading");
    expect(trading.events).toEqual([Won]);
    expect(Object.entries(trading.operations).map(([name, { kind }]) => [name, kind])).toEqual([
      ["get", "query"],
      ["win", "command"],
      ["quote", "action"],
      ["watch", "stream"],
    ]);
    expect(trading.operations.win.errors).toEqual([DealLost]);
    expect(trading.operations.quote.output).toBeUndefined();
    for (const part of [trading, trading.operations, trading.operations.get, trading.events])
      expect(Object.isFrozen(part)).toBe(true);
  });

  it("takes the route's first parameter for what a call is about, unless it says otherwise", () => {
    expect(query(get).target).toBe("dealId");
    expect(query({ ...get, target: "dealId", http: "GET /x" }).target).toBe("dealId");
    expect(query({ ...get, http: "GET /deals" }).target).toBeUndefined();
  });

  it("lets only an action be repeated, and only when it says so", () => {
    expect(action(get).repeatable).toBe(false);
    expect(action({ ...get, repeatable: true }).repeatable).toBe(true);
    expect(action({ ...get, repeatable: "handler" }).repeatable).toBe("handler");
    expect([query(get), command(get), stream(get)].map(({ repeatable }) => repeatable)).toEqual([false, false, false]);
  });
});

describe("defining a contract", () => {
  it("needs names that can stand in a schema, a route and code", () => {
    for (const name of ["Trading", "trading-desk", "", "1st", "trading.desk", "a".repeat(41)])
      expect(() => defineContract(name, {})).toThrow(`The context name "${name}" must be lower snake case.`);
    for (const name of ["Get", "get-deal", "get deal", "", "$get", "__proto__x", "then"])
      expect(defining({}, name), name).toThrow(`The operation name "trading.${name}" must be lower camel case`);
    expect(defining({}, "getDeal2")).not.toThrow();
  });

  it("needs a permission of its own context for every operation", () => {
    for (const permission of [
      "",
      "read",
      "trading",
      "trading:",
      "crm:read",
      "trading:*",
      "*",
      "trading:Read",
      "tradingx:read",
    ])
      expect(defining({ permission }), permission).toThrow(
        'trading.get needs a permission that starts with "trading:"',
      );
    expect(defining({ permission: "trading:read-own" })).not.toThrow();
  });

  it("keeps an internal operation from having a route", () => {
    expect(defining({ permission: "internal" })).toThrow("trading.get is internal and cannot have an HTTP route.");
    expect(defining({ permission: "internal", http: undefined as never })).not.toThrow();
  });

  it("needs a summary, and of a stream the schema of one item", () => {
    expect(defining({ summary: " " })).toThrow("trading.get needs a summary.");
    expect(() => defineContract("trading", { watch: stream({ ...get, output: undefined as never }) })).toThrow(
      "trading.watch needs an output: the schema of one item.",
    );
  });
});

describe("defining a context", () => {
  const Won = defineEvent("deal.won", { version: 1, data: input });
  const trading = defineContract("trading", { get: query(get) }, { events: [Won] });
  const ledger = defineContract("ledger", {});
  const handlers = { get: () => ({ stage: "won" }) };

  it("binds each operation to its handler, and refuses to leave one out", () => {
    const context = defineContext(trading, { dependsOn: [atomic(ledger)], handlers });
    expect(context.contract).toBe(trading);
    expect(context.handlers["get"]).toBe(handlers.get);
    expect(context.dependsOn).toEqual([{ atomic: ledger }]);
    expect(() => defineContext(trading, { handlers: {} as never })).toThrow("trading.get has no handler.");
    const odd = defineContract("odd", { toString: query({ ...get, permission: "odd:read" }) });
    expect(() => defineContext(odd, { handlers: {} as never })).toThrow("odd.toString has no handler.");
  });

  it("gives each consumer a permanent name of its own context", () => {
    const subscribing = (consumer: string) =>
      defineContext(trading, { handlers, subscriptions: (on) => [on(Won, { consumer }, () => {})] });
    expect(subscribing("trading.celebrate").subscriptions[0]).toMatchObject({
      event: Won,
      consumer: "trading.celebrate",
    });
    for (const consumer of ["celebrate", "ledger.celebrate", "tradingcelebrate"])
      expect(() => subscribing(consumer)).toThrow(`The consumer "${consumer}" must start with "trading."`);
  });

  it("needs an input that is a strict object", () => {
    for (const wrong of [z.string(), z.array(z.string()), z.union([input, input])])
      expect(binding({ input: wrong as never, http: "GET /x" })).toThrow("The input of trading.get must be an object.");
    for (const wrong of [
      z.object({ dealId: z.string() }),
      z.record(z.string(), z.string()),
      input.catchall(z.string()),
    ])
      expect(binding({ input: wrong as never, http: "GET /x" })).toThrow("must be a strict object");
  });

  it("needs input and output that JSON can carry", () => {
    expect(binding({ input: z.strictObject({ dealId: z.date() }) as never })).toThrow(
      "The input of trading.get is not JSON only",
    );
    expect(binding({ output: z.object({ at: z.date() }) as never })).toThrow(
      "The output of trading.get is not JSON only",
    );
    expect(binding({ output: z.object({ at: z.unknown() }) as never })).toThrow('"at" may be anything');
  });

  it("needs a field of the input for every parameter of the route", () => {
    expect(binding({ http: "GET /deals/{id}" })).toThrow(
      'trading.get has the path parameter "id" and its input has no such field.',
    );
    expect(binding({ http: "GET /deals/{dealId}/{line}" })).toThrow('the path parameter "line"');
    expect(binding({ http: "GET /deals/{}" })).toThrow('the path parameter ""');
  });

  it("needs events and states that JSON can carry", () => {
    const events = (data: z.ZodType) =>
      defineContract("trading", { get: query(get) }, { events: [defineEvent("deal.won", { version: 1, data })] });
    expect(() => defineContext(events(z.object({ at: z.date() })), { handlers })).toThrow(
      'The event "deal.won" is not JSON only',
    );
    expect(() => defineContext(events(z.object({ any: z.unknown() })), { handlers })).toThrow('"any" may be anything');
    class Deal extends AggregateRoot<object, never> {
      static readonly definition = defineAggregate("deal", { state: z.object({ at: z.date() }), events: [] });
      protected evolve(state: object): object {
        return state;
      }
    }
    expect(() => defineContext(trading, { handlers, aggregates: [Deal] })).toThrow(
      'The state of "deal" is not JSON only',
    );
  });
});
