import { retryAfterOf } from "../../kernel/retry-after.ts";

/** How long an answer asks to be left alone, in milliseconds from now. */
export function retryAfter(answer: { readonly headers: Headers }, now: number): number | undefined {
  return retryAfterOf(answer.headers.get("retry-after"), now);
}
