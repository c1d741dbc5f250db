import type { Armature, PrincipalInput } from "@armature/core";

/** What the handler needs of a running Armature. */
export type HttpApp = Pick<Armature, "operations" | "call" | "stream" | "authenticate" | "oauthCallback" | "ready">;

/** By lower-case name, as Node gives them. */
export type RequestHeaders = Readonly<Record<string, string | readonly string[] | undefined>>;

/** A request as plain values: any server can make one. */
export interface HandlerRequest {
  readonly method: string;
  /** Path and query below the mount point, as they came: `/connectors?limit=5`. */
  readonly url: string;
  /** Path that the handler is mounted at, `/api`; empty or absent at the root. */
  readonly mountPath?: string | undefined;
  readonly headers: RequestHeaders;
  /** Absent when the request has no body. It is read at most once, and only as far as the limit allows. */
  readonly body?: AsyncIterable<Uint8Array> | undefined;
  /** Aborted when the client goes away. */
  readonly signal: AbortSignal;
  /** A host's own way to find out who calls, instead of API keys; undefined means nobody it knows. */
  readonly authenticate?: (() => Promise<PrincipalInput | undefined>) | undefined;
}

/** An answer as plain values. */
export interface HandlerResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  /** The whole body, or its parts as they come (server-sent events). Absent: none is sent. */
  readonly body?: Uint8Array | AsyncIterable<string> | undefined;
}

/** Answers requests. Never rejects: whatever goes wrong is an answer. */
export type HttpHandler = (request: HandlerRequest) => Promise<HandlerResponse>;

/** What is known of one request while it is answered: for its log line and for problem details. */
export interface Exchange {
  readonly requestId: string;
  /** The caller's trace, or one that is made for what the log says about this request. */
  readonly traceId: string;
  /** `connectors.invoke`, or `health`: what the request turned out to be for. */
  operation?: string | undefined;
  tenant?: string | undefined;
  /** The error's code, when it was refused or failed. */
  code?: string | undefined;
  /** Writes the request's log line; called once, when the answer or its last part is there. */
  finish(status: number): void;
}

/** Answers of an API are nobody's to keep, and are what they say they are. */
export const apiHeaders = { "cache-control": "no-store", "x-content-type-options": "nosniff" } as const;

export function jsonResponse(
  status: number,
  value: unknown,
  headers: Readonly<Record<string, string>> = {},
): HandlerResponse {
  const body = Buffer.from(JSON.stringify(value));
  return {
    status,
    headers: {
      ...apiHeaders,
      "content-type": "application/json; charset=utf-8",
      "content-length": String(body.byteLength),
      ...headers,
    },
    body,
  };
}

/** The text of a header that may stand once. */
export function headerOf(headers: RequestHeaders, name: string): string | undefined {
  const value = headers[name];
  return typeof value === "string" || value === undefined ? value : value.join(", ");
}
