import type { PrincipalInput } from "@armature/core";
import type { HttpHandler } from "./http-exchange.ts";

export interface FetchOptions {
  /** Path that the handler is mounted at, `/api`; requests must be below it. */
  readonly mountPath?: string | undefined;
  /** Address that the connection comes from, where the host's server says so: what limits by address go by. */
  readonly peerAddress?: ((request: Request) => string | undefined) | undefined;
  /** A host's own way to find out who calls, instead of API keys; undefined answers 401. */
  readonly authenticate?:
    | ((request: Request) => PrincipalInput | undefined | Promise<PrincipalInput | undefined>)
    | undefined;
}

/** The handler for hosts that speak WHATWG `Request` and `Response`: Hono, Next.js, Deno, Bun. Never rejects. */
export function toFetchHandler(
  handler: HttpHandler,
  { mountPath = "", peerAddress, authenticate }: FetchOptions = {},
): (request: Request) => Promise<Response> {
  return async (request) => {
    const { pathname, search } = new URL(request.url);
    const { status, headers, body } = await handler({
      method: request.method,
      // Outside of the mount point there is nothing: the handler says so.
      url: isBelow(pathname, mountPath) ? pathname.slice(mountPath.length) + search : "/../",
      mountPath,
      headers: Object.fromEntries(request.headers),
      peerAddress: peerAddress?.(request),
      body: request.body ?? undefined,
      signal: request.signal,
      authenticate: authenticate === undefined ? undefined : async () => authenticate(request),
    });
    const content = body === undefined || body instanceof Uint8Array ? (body ?? null) : streamOf(body);
    return new Response(content as ConstructorParameters<typeof Response>[0], { status, headers });
  };
}

function isBelow(pathname: string, mountPath: string): boolean {
  return pathname === mountPath || pathname.startsWith(mountPath.endsWith("/") ? mountPath : `${mountPath}/`);
}

// Begins at once, unlike `ReadableStream.from`: parts that nobody has asked for could not be told that nobody will.
function streamOf(parts: AsyncIterable<string>): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  const iterator = parts[Symbol.asyncIterator]();
  return new ReadableStream({
    async pull(controller) {
      const { done, value } = await iterator.next();
      if (done === true) controller.close();
      else controller.enqueue(encoder.encode(value));
    },
    async cancel() {
      await iterator.return?.();
    },
  });
}
