import { z } from "zod";
import { Surprise } from "./report.ts";

const problem = z.object({ code: z.string(), status: z.number(), detail: z.string().optional() });

/** An answer that was not a success: RFC 9457 problem details. */
export class Refused extends Error {
  override readonly name = "Refused";
  readonly status: number;
  readonly code: string;
  readonly retryAfterMs: number | undefined;

  constructor(status: number, code: string, detail: string, retryAfterMs: number | undefined) {
    super(`${status} ${code}: ${detail}`);
    this.status = status;
    this.code = code;
    this.retryAfterMs = retryAfterMs;
  }
}

/** The server's HTTP API for the holder of one key. */
export function apiOf(origin: string, key: string) {
  return async <T>(
    schema: z.ZodType<T>,
    method: "GET" | "POST",
    path: string,
    options: { readonly body?: unknown; readonly idempotencyKey?: string; readonly timeoutMs?: number } = {},
  ): Promise<T> => {
    const { body, idempotencyKey, timeoutMs } = options;
    const response = await fetch(origin + path, {
      method,
      headers: {
        authorization: `Bearer ${key}`,
        ...(body === undefined ? {} : { "content-type": "application/json" }),
        ...(idempotencyKey === undefined ? {} : { "idempotency-key": idempotencyKey }),
        ...(timeoutMs === undefined ? {} : { "armature-timeout": String(timeoutMs) }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    if (!response.ok) {
      const parsed = problem.safeParse(text === "" ? {} : JSON.parse(text));
      if (!parsed.success)
        throw new Surprise(
          `${method} ${path} answered ${response.status} without problem details: ${text.slice(0, 200)}`,
        );
      const after = response.headers.get("retry-after");
      throw new Refused(
        response.status,
        parsed.data.code,
        parsed.data.detail ?? "",
        after === null ? undefined : Number(after) * 1000,
      );
    }
    return schema.parse(text === "" ? undefined : JSON.parse(text));
  };
}

export type Api = ReturnType<typeof apiOf>;
