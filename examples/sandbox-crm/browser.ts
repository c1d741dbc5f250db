/** What the walk does on the way. */
export interface WalkOptions {
  /**
   * Where to stop: the first redirect to this URL (same origin and path) is returned without being fetched, query and
   * all. Without it the walk goes on until a page that asks for nothing.
   */
  readonly stopAt?: string;
  /** What to type into a form's fields, by name; fields that are not named keep what the page filled in. */
  readonly fill?: Readonly<Record<string, string>>;
  /** The value of the button to press where a form has several, `deny`; else the first one. */
  readonly press?: string;
}

/** The walk ended somewhere else than it should have. */
export class WalkFailed extends Error {
  override readonly name = "WalkFailed";
  readonly url: URL;
  readonly status: number;

  constructor(url: URL, status: number, text: string) {
    super(`${url.origin}${url.pathname} answered ${status}: ${text.slice(0, 500)}`);
    this.url = url;
    this.status = status;
  }
}

const maxPages = 20;

/**
 * Walks an authorization as a browser would: keeps cookies, follows redirects one by one, and submits the first form of
 * each page. Enough for plain server-made pages like the sandbox's; it runs no script.
 *
 * @returns the URL of the stop, or of the last page
 * @throws {WalkFailed} a page answered with an error, or the walk goes in circles
 */
export async function walkAuthorization(start: string | URL, options: WalkOptions = {}): Promise<URL> {
  const cookies = new CookieJar();
  const stop = options.stopAt === undefined ? undefined : new URL(options.stopAt);
  let url = new URL(start);
  let form: URLSearchParams | undefined;

  for (let pages = 0; pages < maxPages; pages += 1) {
    const response = await fetch(url, {
      method: form === undefined ? "GET" : "POST",
      headers: { accept: "text/html", ...cookies.headers(url) },
      ...(form && { body: form }),
      redirect: "manual",
      signal: AbortSignal.timeout(10_000),
    });
    cookies.store(url, response.headers.getSetCookie());
    const text = await response.text();

    const location = response.headers.get("location");
    if (response.status >= 300 && response.status < 400 && location !== null) {
      const target = new URL(location, url);
      if (stop !== undefined && target.origin === stop.origin && target.pathname === stop.pathname) return target;
      // 307 and 308 repeat the request as it was; after the others a browser asks with GET.
      if (response.status !== 307 && response.status !== 308) form = undefined;
      url = target;
      continue;
    }
    if (!response.ok) throw new WalkFailed(url, response.status, text);

    const found = findForm(text, url, options);
    if (found === undefined) {
      if (stop !== undefined) throw new WalkFailed(url, response.status, `no redirect to ${stop.href}: ${text}`);
      return url;
    }
    ({ url, form } = found);
  }
  throw new WalkFailed(url, 310, `more than ${maxPages} pages`);
}

/** Where the page's first form goes and what it sends; undefined when the page has none. */
function findForm(html: string, page: URL, { fill = {}, press }: WalkOptions) {
  const [, formTag, inside] = /<form\b([^>]*)>([\s\S]*?)<\/form>/i.exec(html) ?? [];
  if (formTag === undefined || inside === undefined) return undefined;
  const form = new URLSearchParams();
  for (const [, tag] of inside.matchAll(/<input\b([^>]*)>/gi)) {
    const { name, value = "" } = attributes(tag!);
    if (name !== undefined) form.append(name, fill[name] ?? value);
  }
  const buttons = [...inside.matchAll(/<button\b([^>]*)>/gi)].map(([, tag]) => attributes(tag!));
  const button = press === undefined ? buttons[0] : (buttons.find(({ value }) => value === press) ?? buttons[0]);
  if (button?.name !== undefined) form.append(button.name, button.value ?? "");
  const target = new URL(attributes(formTag).action ?? page.href, page);
  const { method = "get" } = attributes(formTag);
  if (method.toLowerCase() === "post") return { url: target, form };
  target.search = form.toString();
  return { url: target, form: undefined };
}

function attributes(tag: string): Record<string, string | undefined> {
  const found = tag.matchAll(/([\w-]+)\s*=\s*"([^"]*)"/g);
  return Object.fromEntries([...found].map(([, name, value]) => [name!.toLowerCase(), unescapeHtml(value!)]));
}

const entities: Readonly<Record<string, string>> = {
  "&amp;": "&",
  "&lt;": "<",
  "&gt;": ">",
  "&quot;": '"',
  "&#39;": "'",
};

function unescapeHtml(text: string): string {
  return text.replace(/&(?:amp|lt|gt|quot|#39);/g, (entity) => entities[entity]!);
}

/** Cookies by host and path. Like a browser it does not tell ports apart. */
class CookieJar {
  readonly #cookies = new Map<string, { host: string; path: string; name: string; value: string; expires: number }>();

  store(url: URL, headers: readonly string[]): void {
    for (const header of headers) {
      const [pair = "", ...rest] = header.split(";").map((part) => part.trim());
      const at = pair.indexOf("=");
      if (at < 1) continue;
      const [name, value] = [pair.slice(0, at), pair.slice(at + 1)];
      const given = new Map(
        rest.map((part) => part.split("=", 2) as [string, string?]).map(([k, v]) => [k.toLowerCase(), v]),
      );
      const path = given.get("path") ?? (url.pathname.replace(/\/[^/]*$/, "") || "/");
      const maxAge = given.get("max-age");
      const until = given.get("expires");
      const expires =
        maxAge !== undefined
          ? Date.now() + Number(maxAge) * 1000
          : until !== undefined
            ? Date.parse(until)
            : Number.POSITIVE_INFINITY;
      this.#cookies.set(`${url.hostname} ${path} ${name}`, { host: url.hostname, path, name, value, expires });
    }
  }

  headers(url: URL): { cookie?: string } {
    const sent = [...this.#cookies.values()]
      .filter(({ host, path, expires }) => host === url.hostname && covers(path, url.pathname) && expires > Date.now())
      .map(({ name, value }) => `${name}=${value}`)
      .join("; ");
    return sent === "" ? {} : { cookie: sent };
  }
}

function covers(cookiePath: string, path: string): boolean {
  return path === cookiePath || path.startsWith(cookiePath.endsWith("/") ? cookiePath : `${cookiePath}/`);
}
