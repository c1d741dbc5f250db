import { expect, type TestContext, vi } from "vitest";
import { rejection } from "./expectations.ts";

/** How a setup lets its backend be lost. */
export interface Losable {
  /** Takes away what the adapter stands on, until the function is called that it gives. */
  loseBackend?(): Promise<() => Promise<void>> | (() => Promise<void>);
}

/** An adapter that says nothing for longer has its callers wait for something that may never come. */
const SOON_MS = 10_000;

/** Does `during` without the backend, and brings it back whatever comes of it; skips the test where it cannot be lost. */
export async function withoutBackend(context: TestContext, ready: Losable, during: () => Promise<void>): Promise<void> {
  if (ready.loseBackend === undefined) return context.skip("the setup cannot take the backend away");
  const bringBack = await ready.loseBackend();
  try {
    await during();
  } finally {
    await bringBack();
  }
}

/** Expects that it is refused soon, as something that passes. */
export async function expectOutage(call: Promise<unknown>): Promise<unknown> {
  const asked = performance.now();
  const error = await rejection(call);
  expect(error).toMatchObject({ kind: expect.stringMatching(/^(?:unavailable|timeout)$/) });
  expect(performance.now() - asked).toBeLessThan(SOON_MS);
  return error;
}

/** What the call gives once the backend can be used again. */
export function onceBack<T>(call: () => Promise<T>): Promise<T> {
  return vi.waitFor(call, { timeout: 15_000, interval: 20 });
}
