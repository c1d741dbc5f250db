import { createRouterClient, os } from "@orpc/server";
import { subjectOf } from "../peers.ts";
import { caller } from "./caller.ts";
import { order, quote } from "./quote.ts";

export async function contenders() {
  const router = {
    quote: os
      .input(order)
      .output(order)
      .handler(({ input }) => quote(input)),
  };
  const client = createRouterClient(router, { context: {} });
  return [await caller(subjectOf("@orpc/server"), (input) => client.quote(input))];
}
