import fastestValidator from "fastest-validator";
import moleculer from "moleculer";
import { subjectOf } from "../peers.ts";
import { caller } from "./caller.ts";
import { type Order, quote } from "./quote.ts";

// Its declarations describe the CommonJS form; what Node imports is the class itself.
const Validator = fastestValidator as unknown as typeof fastestValidator.default;

const text = { type: "string", min: 1, max: 200 } as const;
const strict = { type: "object", strict: "error" } as const;
const params = {
  $$strict: "error",
  customer: {
    ...strict,
    props: {
      name: text,
      email: text,
      address: { ...strict, props: { street: text, city: text, country: { type: "string", length: 2 } } },
    },
  },
  total: {
    ...strict,
    props: { amount: { type: "number", integer: true, min: 0 }, currency: { type: "string", length: 3 } },
  },
  express: { type: "boolean" },
};

export async function contenders() {
  const broker = new moleculer.ServiceBroker({ logger: false });
  // It validates inputs; the same library checks the output here.
  const fits = new Validator().compile(params as never);
  broker.createService({
    name: "sales",
    actions: {
      quote: {
        params: params as never,
        async handler(ctx: { params: Order }) {
          const answer = await quote(ctx.params);
          if ((await fits(answer)) !== true) throw new Error("The output does not fit.");
          return answer;
        },
      },
    },
  });
  await broker.start();
  const note = "fastest-validator in place of zod; handlers get the caller's own object";
  return [
    await caller(subjectOf("moleculer"), (input) => broker.call("sales.quote", input), {
      note,
      close: () => broker.stop(),
    }),
  ];
}
