import { inspect } from "node:util";
import { expect } from "vitest";

let counter = 0;

/** A word that no other test and no earlier run has used, so that suites can run on a database that holds things. */
export function fresh(prefix: string): string {
  counter += 1;
  return `${prefix}-${process.pid.toString(36)}-${Date.now().toString(36)}-${counter}`;
}

/** What the promise was rejected with; fails when it was not. */
export async function rejection(promise: Promise<unknown>): Promise<unknown> {
  const outcome = await promise.then(
    (value) => ({ value }),
    (error: unknown) => ({ error }),
  );
  if ("error" in outcome) return outcome.error;
  throw new Error(`Expected a rejection, but got ${inspect(outcome.value)}.`);
}

/** Expects a typed error with one of these codes, and gives it back. */
export async function expectRefusal(promise: Promise<unknown>, ...codes: readonly string[]): Promise<unknown> {
  const error = await rejection(promise);
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  expect(codes, `got ${inspect(error)}`).toContain(code);
  return error;
}

/** Everything that printing, logging or serialising the error could show. */
export function everythingIn(error: unknown): string {
  const own = error instanceof Error ? `${error.message}\n${error.stack}\n${String(error.cause)}` : "";
  return `${own}\n${inspect(error, { depth: 20, showHidden: true })}\n${JSON.stringify(error)}`;
}
