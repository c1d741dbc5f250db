import { ProviderAnsweredGarbage } from "../../kernel/port-errors.ts";
import type { HttpResponse } from "../../kernel/ports.ts";
import type { PagesRequest, Paging, ProviderRequest } from "./connector-definition.ts";

const MAX_PAGES = 1_000;

/** The next page is named by a text of this one: `byCursor("after", (page) => page.next)`. */
export function byCursor<Out>(parameter: string, cursor: (page: Out) => string | null | undefined): Paging<Out> {
  return (page) => {
    const next = cursor(page);
    return next === null || next === undefined || next === "" ? undefined : { query: { [parameter]: next } };
  };
}

/** Pages are counted off: `byOffset("offset", (page) => page.items.length)`. One without items is the last. */
export function byOffset<Out>(parameter: string, count: (page: Out) => number): Paging<Out> {
  return (page, { url }) => {
    const items = count(page);
    const before = Number(new URL(url).searchParams.get(parameter) ?? 0);
    return items === 0 ? undefined : { query: { [parameter]: before + items } };
  };
}

/** The answer's `Link` header names the next page (RFC 8288, relation `next`). */
export function byLink<Out>(): Paging<Out> {
  return (_page, { headers }) => {
    const url = nextLink(headers.get("link") ?? "");
    return url === undefined ? undefined : { url };
  };
}

/** Reads one page and what it came with. */
export type ReadPage = <Out>(
  path: string,
  request: ProviderRequest<Out>,
) => Promise<{ readonly value: Out; readonly response: HttpResponse }>;

/** Goes from page to page below the base URL. */
export async function* readPages<Out>(
  read: ReadPage,
  baseUrl: string,
  start: string,
  { next, maxPages = MAX_PAGES, ...request }: PagesRequest<Out>,
): AsyncGenerator<Out, void, undefined> {
  const seen = new Set<string>();
  let [path, query] = [start, request.query];
  for (let count = 1; ; count += 1) {
    const { value, response } = await read(path, { ...request, ...(query === undefined ? {} : { query }) });
    const refuse = (reason: string) => new ProviderAnsweredGarbage({ host: new URL(response.url).host, reason });
    yield value;
    const following = next(value, response);
    if (following === undefined) return;
    if (count >= maxPages) throw refuse(`it has more than ${maxPages} pages`);
    seen.add(new URL(response.url).href);
    if ("query" in following) query = { ...query, ...following.query };
    else {
      const url = URL.parse(following.url, response.url);
      // The credential goes with it: not to another origin, and not out of the API.
      if (url === null || !url.href.startsWith(`${baseUrl}/`)) throw refuse("its next page is not below the base URL");
      [path, query] = [url.href.slice(baseUrl.length), undefined];
    }
    if (seen.has(addressOf(baseUrl, path, query))) throw refuse("its paging leads in a circle");
  }
}

function addressOf(baseUrl: string, path: string, query: ProviderRequest<unknown>["query"]): string {
  const url = new URL(baseUrl + path);
  for (const [name, value] of Object.entries(query ?? {}))
    if (value !== undefined) url.searchParams.set(name, String(value));
  return url.href;
}

const PARAMETER = /;\s*([\w*-]+)\s*=\s*(?:"([^"]*)"|([^\s";,]+))/g;

// `<https://api.example/items?page=2>; rel="next", <…>; rel="last"`
function nextLink(header: string): string | undefined {
  for (const [, target, parameters] of header.matchAll(
    /<([^<>]*)>((?:\s*;\s*[\w*-]+\s*=\s*(?:"[^"]*"|[^\s";,]+))*)/g,
  )) {
    for (const [, name, quoted, plain] of (parameters ?? "").matchAll(PARAMETER))
      if (/^rel$/i.test(name!) && (quoted ?? plain ?? "").toLowerCase().split(/\s+/).includes("next")) return target;
  }
  return undefined;
}

/**
 * Every page of a call whose result has a `next`: `for await (const page of pagesOf((after) => crm.listContacts({ after
 * })))`. A `next` that comes again is an error.
 */
export async function* pagesOf<Out extends { readonly next?: string | null | undefined }>(
  call: (after: string | undefined) => Promise<Out>,
): AsyncGenerator<Out, void, undefined> {
  const seen = new Set<string>();
  for (let after: string | undefined; ; ) {
    const page = await call(after);
    yield page;
    if (page.next === undefined || page.next === null) return;
    if (seen.has(page.next)) throw new RangeError("The pages lead in a circle: a cursor came twice.");
    seen.add(page.next);
    after = page.next;
  }
}
