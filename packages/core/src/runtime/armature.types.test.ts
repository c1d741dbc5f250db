import { describe, expectTypeOf, it } from "vitest";
import { z } from "zod";
import { defineContext } from "../kernel/context.ts";
import { action, command, defineContract, query, stream } from "../kernel/contract.ts";
import type { Armature, Clients, TransactionClients } from "./armature.ts";

const input = z.strictObject({ sku: z.string() });
const options = { input, permission: "shop:use", summary: "Does it." } as const;
const shop = defineContract("shop", {
  look: query({ ...options, output: z.object({ price: z.number() }) }),
  buy: command(options),
  deliver: action(options),
  watch: stream({ ...options, output: z.object({ price: z.number() }) }),
});
const context = defineContext(shop, {
  handlers: {
    look: () => ({ price: 1 }),
    buy: () => {},
    deliver: () => {},
    watch: async function* () {
      yield { cursor: "1", item: { price: 1 } };
    },
  },
});
type Shop = readonly [typeof context];

describe("the types of a running app", () => {
  it("an app with contexts of its own is an app, and not the other way round", () => {
    expectTypeOf<Armature<Shop>>().toExtend<Armature>();
    expectTypeOf<Clients<Shop>>().toExtend<Clients>();
    expectTypeOf<Armature>().not.toExtend<Armature<Shop>>();
    expectTypeOf<Armature<readonly []>>().toExtend<Armature>();
  });

  it("the built-in contexts are there without naming any", () => {
    expectTypeOf<keyof Clients>().toEqualTypeOf<
      | "identity"
      | "connectors"
      | "secrets"
      | "approvals"
      | "workflows"
      | "agents"
      | "audit"
      | "projections"
      | "delivery"
      | "within"
    >();
    expectTypeOf<keyof Clients<Shop>>().toEqualTypeOf<keyof Clients | "shop">();
    expectTypeOf<Clients["identity"]["getTenant"]>().toBeFunction();
  });

  it("inside a transaction there are queries and commands, and neither actions nor streams", () => {
    expectTypeOf<keyof TransactionClients<Shop>["shop"]>().toEqualTypeOf<"look" | "buy">();
    expectTypeOf<TransactionClients<Shop>["shop"]["look"]>().toEqualTypeOf<Clients<Shop>["shop"]["look"]>();
    expectTypeOf<keyof TransactionClients<Shop>>().toEqualTypeOf<
      | "identity"
      | "connectors"
      | "secrets"
      | "approvals"
      | "workflows"
      | "agents"
      | "agents"
      | "audit"
      | "projections"
      | "delivery"
      | "shop"
    >();
  });

  it("within gives back what the function returns", () => {
    const within = (clients: Clients<Shop>) =>
      clients.within({ query: async () => ({ rows: [] }) }, async ({ shop: inside }) => {
        const { price } = await inside.look({ sku: "chair" });
        return price;
      });
    expectTypeOf(within).returns.resolves.toBeNumber();
  });
});
