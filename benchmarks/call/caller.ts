import { isDeepStrictEqual } from "node:util";
import { sequentially } from "../rounds.ts";
import type { Contender } from "../work.ts";
import { type Order, quote, sample } from "./quote.ts";

/** What a caller is measured by, and asked first: whether it answers right, and refuses what does not fit. */
export async function caller(
  subject: string,
  call: (input: Order) => Promise<unknown>,
  options: { readonly note?: string; readonly close?: () => Promise<void> } = {},
): Promise<Contender> {
  const answersRight = async () => isDeepStrictEqual(await call(sample), await quote(sample));
  if (!(await answersRight())) throw new Error(`${subject} gives a wrong answer.`);
  const wrong = { ...sample, total: { amount: "much", currency: "USD" } } as unknown as Order;
  const refused = await call(wrong).then(
    () => false,
    () => true,
  );
  if (!refused) throw new Error(`${subject} takes a wrong input.`);
  return {
    subject,
    ...options,
    measure: (ms) => sequentially(ms, () => call(sample)),
    check: async () => {
      if (!(await answersRight())) throw new Error(`${subject} gives a wrong answer after a while.`);
    },
  };
}
