import { describe, expectTypeOf, it } from "vitest";
import { z } from "zod";
import { AggregateRoot, defineAggregate } from "./aggregate.ts";
import {
  type ActionContext,
  atomic,
  type CommandContext,
  defineContext,
  type QueryContext,
  type StreamContext,
} from "./context.ts";
import {
  action,
  type CallOptions,
  type Client,
  command,
  defineContract,
  type OwnClient,
  query,
  type StreamItem,
  stream,
} from "./contract.ts";
import { defineEvent, type EventOf } from "./event.ts";
import { sensitive } from "./sensitive.ts";

// What is checked here is checked by the compiler: `tsc` fails when an expectation no longer holds.

const DealWon = defineEvent("deal.won", {
  version: 1,
  data: z.strictObject({ dealId: z.string(), amount: z.number() }),
});
const PaymentBooked = defineEvent("payment.booked", { version: 1, data: z.strictObject({ cents: z.int() }) });

const deal = z.strictObject({ dealId: z.string() });
const trading = defineContract(
  "trading",
  {
    get: query({
      input: deal,
      output: z.object({ stage: z.enum(["open", "won"]) }),
      permission: "trading:read",
      summary: ".",
    }),
    list: query({
      input: z.strictObject({ limit: z.int().default(50), after: z.string().optional() }),
      output: z.object({ items: z.array(z.string()) }),
      permission: "trading:read",
      summary: ".",
    }),
    win: command({ input: deal.extend({ amount: z.number() }), permission: "trading:write", summary: "." }),
    quote: action({ input: deal, output: z.object({ price: z.number() }), permission: "trading:quote", summary: "." }),
    watch: stream({ input: deal, output: z.object({ stage: z.string() }), permission: "trading:read", summary: "." }),
    reindex: command({ input: z.strictObject({}), permission: "internal", summary: "." }),
  },
  { events: [DealWon] },
);
const ledger = defineContract(
  "ledger",
  {
    balance: query({
      input: z.strictObject({}),
      output: z.object({ cents: z.int() }),
      permission: "ledger:read",
      summary: ".",
    }),
    book: command({ input: z.strictObject({ cents: z.int() }), permission: "ledger:write", summary: "." }),
    pay: action({ input: z.strictObject({ cents: z.int() }), permission: "ledger:pay", summary: "." }),
    close: command({ input: z.strictObject({}), permission: "internal", summary: "." }),
  },
  { events: [PaymentBooked] },
);
const stranger = defineContract("stranger", {
  peek: query({ input: z.strictObject({}), permission: "stranger:read", summary: "." }),
});

type Trading = typeof trading;
type Ledger = typeof ledger;

describe("a client", () => {
  it("has a function for each public operation, with its input and its result", () => {
    type Trader = Client<Trading>;
    expectTypeOf<keyof Trader>().toEqualTypeOf<"get" | "list" | "win" | "quote" | "watch">();
    expectTypeOf<Trader["get"]>().toEqualTypeOf<
      (input: { dealId: string }, options?: CallOptions) => Promise<{ stage: "open" | "won" }>
    >();
    expectTypeOf<ReturnType<Trader["win"]>>().toEqualTypeOf<Promise<void>>();
    expectTypeOf<ReturnType<Trader["watch"]>>().toEqualTypeOf<AsyncIterable<StreamItem<{ stage: string }>>>();
  });

  it("may be called without input where every field is optional or has a default", () => {
    expectTypeOf<Client<Trading>["list"]>().parameters.toEqualTypeOf<
      [input?: { limit?: number | undefined; after?: string | undefined }, options?: CallOptions]
    >();
    expectTypeOf<Client<Ledger>["balance"]>().toBeCallableWith();
    // @ts-expect-error a field is required
    expectTypeOf<Client<Trading>["get"]>().toBeCallableWith();
  });

  it("can be narrowed to kinds, and has internal operations only for its own context", () => {
    expectTypeOf<keyof Client<Trading, "query">>().toEqualTypeOf<"get" | "list">();
    expectTypeOf<keyof Client<Trading, "command">>().toEqualTypeOf<"win">();
    expectTypeOf<keyof OwnClient<Trading, "command">>().toEqualTypeOf<"win" | "reindex">();
    expectTypeOf<keyof OwnClient<Trading>>().toEqualTypeOf<keyof Trading["operations"]>();
  });
});

describe("what a handler can do", () => {
  it("depends on the kind: only an action reaches outside, only a command changes", () => {
    type Outside = "http" | "secrets" | "lease" | "rateLimiter";
    expectTypeOf<Extract<keyof ActionContext<Trading, never>, Outside>>().toEqualTypeOf<Outside>();
    expectTypeOf<Extract<keyof CommandContext<Trading, never>, Outside | "clock">>().toBeNever();
    expectTypeOf<Extract<keyof QueryContext<Trading, never>, Outside | "clock">>().toBeNever();
    expectTypeOf<Extract<keyof StreamContext<Trading, never>, Outside>>().toBeNever();
    type Changes = "add" | "send";
    expectTypeOf<Extract<keyof CommandContext<Trading, never>, Changes>>().toEqualTypeOf<Changes>();
    expectTypeOf<Extract<keyof QueryContext<Trading, never>, Changes>>().toBeNever();
    expectTypeOf<Extract<keyof ActionContext<Trading, never>, Changes | "load" | "find">>().toBeNever();
  });

  it("reaches only declared contexts, and of a plain dependency only what its kind may", () => {
    const check = (query: QueryContext<Trading, Ledger>, command: CommandContext<Trading, Ledger>) => {
      expectTypeOf<keyof ReturnType<typeof query.use<Ledger>>>().toEqualTypeOf<"balance">();
      expectTypeOf<keyof ReturnType<typeof command.use<Ledger>>>().toEqualTypeOf<"balance">();
      // @ts-expect-error "stranger" is not in dependsOn
      query.use(stranger);
      // @ts-expect-error "stranger" is not in dependsOn
      command.use(stranger);
      // @ts-expect-error "stranger" is not in dependsOn
      command.send(stranger, "peek", {});
      // @ts-expect-error a command of a plain dependency is sent, not called
      command.use(ledger).book({ cents: 1 });
      command.send(ledger, "book", { cents: 1 });
      command.send(ledger, "pay", { cents: 1 });
      // @ts-expect-error a query is not sent
      command.send(ledger, "balance", {});
      // @ts-expect-error the input does not fit
      command.send(ledger, "book", { cents: "1" });
      // @ts-expect-error internal to another context
      command.send(ledger, "close", {});
      command.send(trading, "reindex", {});
    };
    expectTypeOf(check).toBeFunction();
  });

  it("calls the commands of an atomic dependency within its own commit, and an action calls everything", () => {
    const dependency = atomic(ledger);
    const check = (command: CommandContext<Trading, typeof dependency>, action: ActionContext<Trading, Ledger>) => {
      expectTypeOf(command.use(ledger).book).toBeCallableWith({ cents: 1 });
      // @ts-expect-error an action waits for the outside: never within a commit
      command.use(ledger).pay({ cents: 1 });
      const [theirs, own] = [action.use(ledger), action.use(trading)];
      expectTypeOf<keyof typeof theirs>().toEqualTypeOf<"balance" | "book" | "pay">();
      expectTypeOf<keyof typeof own>().toEqualTypeOf<keyof Trading["operations"]>();
    };
    expectTypeOf(check).toBeFunction();
  });
});

describe("defining a context", () => {
  const handlers = {
    get: () => ({ stage: "won" as const }),
    list: () => ({ items: [] }),
    win: () => {},
    quote: () => ({ price: 1 }),
    async *watch() {},
    reindex: () => {},
  };

  it("gives each handler its input, parsed, and its context, by kind", () => {
    defineContext(trading, {
      dependsOn: [ledger],
      handlers: {
        ...handlers,
        list: (input, ctx) => {
          expectTypeOf(input).toEqualTypeOf<{ limit: number; after?: string | undefined }>();
          expectTypeOf(ctx).toEqualTypeOf<QueryContext<Trading, Ledger>>();
          return { items: [] };
        },
        quote: async (_input, ctx) => {
          expectTypeOf(ctx).toEqualTypeOf<ActionContext<Trading, Ledger>>();
          return { price: 1 };
        },
      },
      subscriptions: (on) => [
        on(PaymentBooked, { consumer: "trading.book" }, (event, ctx) => {
          expectTypeOf(event.data).toEqualTypeOf<{ cents: number }>();
          expectTypeOf(ctx).toEqualTypeOf<CommandContext<Trading, Ledger>>();
        }),
      ],
    });
  });

  it("refuses a handler that is missing, too many, or returns something else", () => {
    const check = () => {
      const { win: _, ...missing } = handlers;
      // @ts-expect-error win has no handler
      defineContext(trading, { handlers: missing });
      // @ts-expect-error there is no operation lose
      defineContext(trading, { handlers: { ...handlers, lose: () => {} } });
      // @ts-expect-error "lost" is not a stage
      defineContext(trading, { handlers: { ...handlers, get: () => ({ stage: "lost" as const }) } });
      const subscribed = { consumer: "trading.x" };
      defineContext(trading, {
        handlers,
        // @ts-expect-error the event belongs to no dependency
        subscriptions: (on) => [on(PaymentBooked, subscribed, () => {})],
      });
    };
    expectTypeOf(check).toBeFunction();
  });
});

describe("an aggregate", () => {
  const state = z.strictObject({ status: z.enum(["open", "won"]), amount: z.number().optional() });
  type State = z.infer<typeof state>;
  type Event = EventOf<typeof DealWon>;

  it("cannot evolve into a state that its schema does not know, nor raise what is not its event", () => {
    class Deal extends AggregateRoot<State, Event> {
      static readonly definition = defineAggregate("deal", { state, events: [DealWon], index: ["status"] });
      win(): void {
        this.raise(DealWon, { dealId: this.id, amount: 1 });
        // @ts-expect-error the amount is missing
        this.raise(DealWon, { dealId: this.id });
        // @ts-expect-error not an event of a deal
        this.raise(PaymentBooked, { cents: 1 });
        // @ts-expect-error the state is changed by events alone
        this.state = { status: "won" };
      }
      protected override evolve(_state: State | undefined, event: Event): State {
        switch (event.type) {
          case "deal.won":
            return { status: "won", amount: event.data.amount };
        }
      }
    }
    class Wrong extends Deal {
      protected override evolve(_state: State | undefined, _event: Event): State {
        // @ts-expect-error "lost" is not a status
        return { status: "lost" };
      }
    }
    expectTypeOf<Wrong["state"]>().toEqualTypeOf<State>();
    const check = (ctx: QueryContext<Trading, never>) => {
      expectTypeOf(ctx.load(Deal, "d1")).resolves.toEqualTypeOf<Deal>();
      ctx.find(Deal, { where: { status: "open" }, orderBy: "status" });
      // @ts-expect-error not an index field
      ctx.find(Deal, { where: { amount: 1 } });
      // @ts-expect-error not an index field
      ctx.find(Deal, { orderBy: "amount" });
    };
    expectTypeOf(check).toBeFunction();
    // @ts-expect-error not a field of the state
    defineAggregate("deal", { state, events: [], index: ["stage"] });
  });
});

it("marking a schema as sensitive does not change its type", () => {
  expectTypeOf(sensitive(z.string().optional())).toEqualTypeOf<z.ZodOptional<z.ZodString>>();
});
