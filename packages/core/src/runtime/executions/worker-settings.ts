import { z } from "zod";
import type { ExecutionEngine } from "../../kernel/execution-engine.ts";
import { parse } from "../../kernel/parse.ts";

/** How this process works on durable executions. */
export interface ExecutionOptions {
  /** Executions of one context that are worked on at a time; those that wait do not count. Default 64. */
  readonly concurrency?: number;
  /** Longest wait between looks when nobody tells of anything, in milliseconds. Default 5,000. */
  readonly pollMs?: number;
  /** After how long without a sign of life another process takes over, in milliseconds. Default 15,000. */
  readonly leaseMs?: number;
}

/** Executions that another engine carries than the embedded one on the application's store. */
export interface ExecutionsElsewhere {
  readonly engine: ExecutionEngine;
  /** `false`: this process begins executions and reads them, and works on none. */
  readonly work?: boolean;
}

export interface WorkerSettings {
  readonly concurrency: number;
  readonly pollMs: number;
  readonly ttlMs: number;
}

const options = z.strictObject({
  concurrency: z.int().min(1).max(10_000).default(64),
  pollMs: z.int().min(10).max(600_000).default(5_000),
  leaseMs: z.int().min(100).max(600_000).default(15_000),
});

/**
 * The options with their defaults.
 *
 * @throws {InvalidInput} one is not valid
 */
export function workerSettings(given: ExecutionOptions): WorkerSettings {
  const { concurrency, pollMs, leaseMs } = parse(options, given, "The option executions");
  return { concurrency, pollMs, ttlMs: leaseMs };
}
