import { initTRPC } from "@trpc/server";
import { subjectOf } from "../peers.ts";
import { caller } from "./caller.ts";
import { order, quote } from "./quote.ts";

export async function contenders() {
  const t = initTRPC.create();
  const router = t.router({
    quote: t.procedure
      .input(order)
      .output(order)
      .query(({ input }) => quote(input)),
  });
  const client = t.createCallerFactory(router)({});
  return [await caller(subjectOf("@trpc/server"), (input) => client.quote(input))];
}
