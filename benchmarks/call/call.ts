import { createArmature, defineContext, defineContract, query } from "@armature/core";
import { inMemory } from "@armature/core/in-memory";
import type { Contender, Work } from "../work.ts";
import { caller } from "./caller.ts";
import { order, quote } from "./quote.ts";

/** A call within a process, with input and output validated. */
export const call: Work = {
  name: "call",
  about: "a local call with eight nested fields in and out, both validated, one call after the other",
  run: async (bench) => {
    const peers = await bench.peers("call", ["orpc", "trpc", "moleculer", "nest"], {});
    await bench.race({ work: "call", unit: "µs", contenders: [await floor(), await ours(), ...peers] });
  },
};

const floor = (): Promise<Contender> =>
  caller("floor", async (input) => order.parse(await quote(order.parse(input))), {
    note: "zod parses the input, an async function, zod parses the output",
  });

async function ours(): Promise<Contender> {
  const contract = defineContract("sales", {
    quote: query({ input: order, output: order, permission: "sales:read", summary: "Says what an order costs." }),
  });
  const context = defineContext(contract, { aggregates: [], handlers: { quote: (input) => quote(input) } });
  const app = await createArmature({ store: inMemory(), contexts: [context], authorizer: () => true, relay: false });
  const { sales } = app.as({ tenant: "acme", user: "ann" });
  return caller("armature", (input) => sales.quote(input), {
    note: "and a permission, a deadline, ids and a trace",
    close: () => app.close(),
  });
}
