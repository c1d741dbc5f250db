import { createHash, createHmac } from "node:crypto";
import type { ContextDefinition } from "../kernel/context.ts";
import type { AnyOperation, CallOptions } from "../kernel/contract.ts";
import { DeadlineExceeded } from "../kernel/errors.ts";
import type { Principal } from "../kernel/principal.ts";
import { canonicalJson, type JsonObject } from "../kernel/schema.ts";
import type { Secret } from "../kernel/secret.ts";
import type { Redact } from "../kernel/sensitive.ts";
import type { CallInfo, Join } from "./call-info.ts";

/** An operation with everything that the pipeline needs to run it. */
export interface RunnableOperation {
  /** `connectors.invoke` */
  readonly id: string;
  readonly name: string;
  readonly context: ContextDefinition;
  readonly operation: AnyOperation;
  // biome-ignore lint/suspicious/noExplicitAny: `defineContext` has checked the handler's types
  readonly handle: (input: any, ctx: any) => any;
  readonly redactInput: Redact;
  /** A default of its input is an object, which zod would give to every call. */
  readonly sharedDefaults: boolean;
  /** Its result holds a secret and may not be kept. */
  readonly sensitiveOutput: boolean;
}

/** How one part of the runtime calls the pipeline. */
export interface CallRequest extends CallOptions {
  readonly principal: Principal;
  readonly causationId?: string | undefined;
  /** Context that makes the call, when a handler does. */
  readonly from?: string | undefined;
  /** Absolute; never later than this. */
  readonly deadline?: number | undefined;
  /** Of a command: what is written of an execution together with what it changes. */
  readonly join?: Join | undefined;
}

/** The record's key: one per operation, caller and key, so that no caller can see another's result. */
export function recordKey(operation: string, principal: Principal, key: string): string {
  const caller = canonicalJson([principal.actor, principal.onBehalfOf ?? null, key]);
  return `${operation} ${createHash("sha256").update(caller).digest("base64url")}`;
}

/** Tells inputs apart without telling anything of them: keyed, because an input may hold a weak secret. */
export function hashInput(key: Secret<Uint8Array>, input: unknown): string {
  return createHmac("sha256", key.reveal()).update(canonicalJson(input)).digest("base64url");
}

/** The id of a call with an idempotency key: the same over repeats, unguessable to other tenants. */
export function stableCallId(tenant: string, key: string): string {
  return `call_${createHash("sha256").update(`${tenant} ${key}`).digest("hex").slice(0, 32)}`;
}

/** The id of what a call is about. */
export function targetId({ operation }: RunnableOperation, tenant: string, input: JsonObject): string | undefined {
  const { target } = operation;
  if (target === undefined) return undefined;
  const id = input[target] ?? (target === "tenant" ? tenant : undefined);
  return id === undefined ? undefined : String(id);
}

/** Throws when the caller gave up or the deadline has passed. */
export function checkAlive(call: CallInfo, operation: string, now: number): void {
  if (now >= call.deadline) throw new DeadlineExceeded({ operation });
  if (call.patience.over) throw call.patience.reason(operation);
}

/** What a caller may say of a call, and nothing else of what it may have put beside it. */
export function callOptions(options: CallOptions = {}): CallOptions {
  const { idempotencyKey, timeoutMs, signal, expectedVersion, traceparent, correlationId, after } = options;
  return { idempotencyKey, timeoutMs, signal, expectedVersion, traceparent, correlationId, after };
}
