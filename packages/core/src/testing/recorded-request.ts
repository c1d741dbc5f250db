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
  readonly method: HttpRequest["method"];
  readonly url: string;
  /** The route's parameters, decoded: `id` of `GET https://api.crm.example/contacts/:id`. */
  readonly params: Readonly<Record<string, string>>;
  /** When it arrived, in milliseconds, by the simulator's clock. */
  readonly at: number;
  readonly #headers: Headers;
  readonly #body: HttpRequest["body"];

  constructor(recorded: {
    readonly request: HttpRequest;
    readonly url: URL;
    readonly headers: Headers;
    readonly at: number;
    readonly params: Readonly<Record<string, string>>;
  }) {
    this.method = recorded.request.method;
    this.url = recorded.url.href;
    this.params = recorded.params;
    this.at = recorded.at;
    this.#headers = recorded.headers;
    this.#body = recorded.request.body;
  }

  get query(): URLSearchParams {
    return new URL(this.url).searchParams;
  }

  /** Headers as a client sends them, also those that it adds itself. */
  get headers(): Headers {
    return new Headers(this.#headers);
  }

  text(): string {
    const body = this.#body;
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
    const url = new URL(this.url);
    const query = url.search === "" ? "" : `?${printedForm(url.searchParams)}`;
    url.search = "";
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
    if (this.#body instanceof URLSearchParams || /form-urlencoded/.test(this.#headers.get("content-type") ?? ""))
      return [printedForm(this.form())];
    try {
      const parsed: unknown = JSON.parse(text, (key, value) => (CREDENTIAL.test(key) ? REDACTED : value));
      if (typeof parsed === "object") return [JSON.stringify(parsed)];
    } catch {}
    return [`a body of ${text.length} characters`];
  }
}

function printedForm(form: URLSearchParams): string {
  return [...form].map(([name, value]) => `${name}=${CREDENTIAL.test(name) ? REDACTED : value}`).join("&");
}
