import type { HttpRequest } from "../kernel/ports.ts";

const REDACTED = "[redacted]";
/** Headers that no provider puts a credential in; the values of all others are not printed. */
const PLAIN_HEADERS = new Set([
  ...["accept", "accept-language", "cache-control", "content-type", "idempotency-key", "if-match", "if-none-match"],
  ...["prefer", "user-agent"],
]);
const CREDENTIAL =
  /secret|token|passw|authoriz|api[-_]?key|^key$|^code$|verifier|assertion|signature|credential|cookie|session/i;

/**
 * A request that reached a `ProviderSimulator`. Its accessors give what was sent; every way to print it (a failed
 * expectation, a log, `console.log`) hides what looks like a credential.
 */
export class RecordedRequest {
  readonly #request: HttpRequest;
  readonly #url: URL;
  readonly #headers: Headers;
  readonly #at: number;
  readonly #params: Readonly<Record<string, string>>;

  constructor(recorded: {
    readonly request: HttpRequest;
    readonly url: URL;
    readonly headers: Headers;
    readonly at: number;
    readonly params: Readonly<Record<string, string>>;
  }) {
    this.#request = recorded.request;
    this.#url = recorded.url;
    this.#headers = recorded.headers;
    this.#at = recorded.at;
    this.#params = recorded.params;
  }

  get method(): HttpRequest["method"] {
    return this.#request.method;
  }

  get url(): string {
    return this.#url.href;
  }

  get query(): URLSearchParams {
    return new URLSearchParams(this.#url.searchParams);
  }

  /** Headers as a client sends them, also those that it adds itself. */
  get headers(): Headers {
    return new Headers(this.#headers);
  }

  /** The route's parameters, decoded: `id` of `GET https://api.crm.example/contacts/:id`. */
  get params(): Readonly<Record<string, string>> {
    return this.#params;
  }

  /** When it arrived, in milliseconds, by the simulator's clock. */
  get at(): number {
    return this.#at;
  }

  text(): string {
    const { body } = this.#request;
    if (body instanceof Uint8Array) return new TextDecoder().decode(body);
    return body === undefined ? "" : String(body);
  }

  json(): unknown {
    return JSON.parse(this.text());
  }

  /** A body of the content type `application/x-www-form-urlencoded`, or as much of it as can be read so. */
  form(): URLSearchParams {
    return new URLSearchParams(this.text());
  }

  /** Method and address, then headers and body, each on a line of its own. */
  toString(): string {
    const headers = [...this.#headers].map(([name, value]) => `${name}: ${PLAIN_HEADERS.has(name) ? value : REDACTED}`);
    const url = new URL(this.#url);
    url.search = "";
    const query = this.#url.search === "" ? "" : `?${printedForm(this.#url.searchParams)}`;
    return [`${this.method} ${url.href}${query}`, ...headers, ...this.#printedBody()].join("\n  ");
  }

  toJSON(): string {
    return this.toString();
  }

  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return this.toString();
  }

  // What is neither a form nor JSON cannot be read for credentials, so it is not printed.
  #printedBody(): string[] {
    const text = this.text();
    if (text === "") return [];
    if (this.#request.body instanceof URLSearchParams || /form-urlencoded/.test(this.#headers.get("content-type") ?? ""))
      return [printedForm(this.form())];
    try {
      return [JSON.stringify(JSON.parse(text, (key, value) => (CREDENTIAL.test(key) ? REDACTED : value)))];
    } catch {
      return [`a body of ${text.length} characters`];
    }
  }
}

function printedForm(form: URLSearchParams): string {
  return [...form].map(([name, value]) => `${name}=${CREDENTIAL.test(name) ? REDACTED : value}`).join("&");
}
