import { InvalidInput } from "../kernel/errors.ts";
import { AddressRefused } from "../kernel/port-errors.ts";
import type { HttpRequest } from "../kernel/ports.ts";
import { addressRefusal, isAddress } from "./address-guard.ts";

// The connection's own business. `host` also sets the name that TLS checks.
const OWN_HEADERS = new Set([
  ...["connection", "content-length", "expect", "host", "keep-alive", "proxy-connection", "te", "trailer"],
  ...["transfer-encoding", "upgrade"],
]);

/**
 * The URL, when a call may go there as far as its text shows it: what a name resolves to is checked when its
 * connection is opened.
 *
 * @param allowed origins that the host has listed
 * @throws {AddressRefused} a literal address that is not public, another scheme, plain http, or credentials in it
 */
export function checkUrl(text: string, allowed: ReadonlySet<string>): URL {
  const url = URL.parse(text);
  if (url === null)
    throw new InvalidInput({ subject: "The request", issues: [{ path: "url", message: "is not a URL" }] });
  const refuse = (reason: string) => new AddressRefused({ host: url.host, reason });
  if (url.protocol !== "https:" && url.protocol !== "http:") throw refuse("only http and https can be called");
  if (url.username !== "" || url.password !== "") throw refuse("the URL holds a user name or a password");
  if (allowed.has(url.origin)) return url;
  const reason = isAddress(url.hostname) ? addressRefusal(url.hostname) : undefined;
  if (reason !== undefined) throw refuse(reason);
  if (url.protocol === "http:") throw refuse("plain http goes only to origins that the host has listed");
  return url;
}

/**
 * The headers as they are sent.
 *
 * @throws {InvalidInput} one of them, or a body beside the method, is not what HTTP allows
 */
export function checkHeaders(request: HttpRequest, userAgent: string): Headers {
  const headers = new Headers({ "user-agent": userAgent });
  const refuse = (path: string, message: string) =>
    new InvalidInput({ subject: "The request", issues: [{ path, message }] });
  for (const [name, value] of Object.entries(request.headers ?? {})) {
    if (!/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(name)) throw refuse("headers", "hold a name that HTTP does not allow");
    if (OWN_HEADERS.has(name.toLowerCase())) throw refuse(`headers.${name}`, "is set by the client itself");
    try {
      headers.set(name, value);
    } catch {
      // Without the cause: its message quotes the value.
      throw refuse(`headers.${name}`, "has a value that HTTP does not allow");
    }
  }
  if (request.body !== undefined && (request.method === "GET" || request.method === "HEAD"))
    throw refuse("body", `cannot go with ${request.method}`);
  return headers;
}
