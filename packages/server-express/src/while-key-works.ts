import type { HandlerRequest, HttpApp } from "./http-exchange.ts";
import { apiKeyOf } from "./request-headers.ts";
import type { SentItem } from "./stream-parts.ts";

/**
 * The items of a stream for as long as the API key that it was asked for with works: a stream may go on for days. What
 * the app remembers of a key makes this cheap. A host that authenticates by itself ends its streams by the request's
 * signal.
 *
 * @throws {Unauthenticated} in place of an item, when the key no longer works
 */
export async function* whileKeyWorks(
  app: Pick<HttpApp, "authenticate">,
  { headers, authenticate }: Pick<HandlerRequest, "headers" | "authenticate">,
  items: AsyncIterable<SentItem>,
): AsyncIterable<SentItem> {
  const key = authenticate === undefined ? apiKeyOf(headers) : undefined;
  for await (const item of items) {
    if (key !== undefined) await app.authenticate(key);
    yield item;
  }
}
