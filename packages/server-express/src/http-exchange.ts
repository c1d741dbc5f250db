import type { Armature, Bucket, PrincipalInput } from "@armature/core";

/** What the handler needs of a running Armature. */
export type HttpApp = Pick<
  Armature,
  "operations" | "call" | "openStream" | "authenticate" | "publicKeys" | "oauthCallback" | "ready"
>;

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
  /** Address that the connection comes from: the client's, or a proxy's. */
  readonly peerAddress?: string | undefined;
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
  /**
   * The whole body, or its parts as they come (streams). Absent: none is sent. When the parts throw, the connection is
   * to be broken off, so that the answer does not look whole.
   */
  readonly body?: Uint8Array | AsyncIterable<string> | undefined;
  /** Whether it holds no secret beside what a stranger may have put there, so that its length may be seen. */
  readonly compressible?: boolean | undefined;
}

/** Answers requests. Never rejects: whatever goes wrong is an answer. */
export type HttpHandler = (request: HandlerRequest) => Promise<HandlerResponse>;

/** What is left of a limit, for the answer's headers. */
export interface LimitLevel {
  readonly name: string;
  readonly bucket: Bucket;
  readonly remaining: number;
}

/** What is known of one request while it is answered: for its log line, its span and problem details. */
export interface Exchange {
  readonly requestId: string;
  /** The trace of the request: the client's, the host's, or a new one. */
  readonly traceId: string;
  readonly traceparent: string;
  /** Where the client is, as far as the server can know. */
  readonly address: string | undefined;
  /** What is left of the limits that were asked. */
  readonly levels: LimitLevel[];
  /** `connectors.invoke`, or `server.health`: what the request turned out to be for. */
  operation?: string | undefined;
  tenant?: string | undefined;
  /** The error's code, when it was refused or failed. */
  code?: string | undefined;
  /** Writes the request's log line and ends its span; called once, when the answer or its last part is there. */
  finish(status: number): void;
}

/** Answers of an API are nobody's to keep. */
export const apiHeaders = { "cache-control": "no-store" } as const;

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
