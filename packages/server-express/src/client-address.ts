import ipaddr from "ipaddr.js";
import proxyAddr from "proxy-addr";
import { headerOf, type RequestHeaders } from "./http-exchange.ts";

/** Finds out from which address a request comes; undefined where the server cannot say. */
export type ClientAddress = (peer: string | undefined, headers: RequestHeaders) => string | undefined;

/**
 * The client's address. `X-Forwarded-For` is read from the right, and believed as long as whoever wrote an entry is a
 * trusted proxy: anybody can send the header, and only the last trusted proxy has seen its client.
 *
 * @param trusted addresses and ranges of the proxies before the server, or `loopback`, `linklocal`, `uniquelocal`
 * @throws {TypeError} for what is neither
 */
export function clientAddress(trusted: readonly string[]): ClientAddress {
  const trusts = proxyAddr.compile([...trusted]);
  return (peer, headers) => {
    if (peer === undefined || !ipaddr.isValid(peer)) return undefined;
    const forwarded = { headers: { "x-forwarded-for": headerOf(headers, "x-forwarded-for") } };
    const found = proxyAddr({ ...forwarded, socket: { remoteAddress: peer } } as never, trusts);
    // A proxy that writes something else (a name, a port behind the address) tells nothing of the client.
    return ipaddr.isValid(found) ? found : peer;
  };
}

/** Whether `clientAddress` can read it. */
export function isProxyRange(text: string): boolean {
  try {
    proxyAddr.compile(text);
    return true;
  } catch {
    return false;
  }
}

/** Who shares a bucket: an IPv4 address, or the /64 that a single IPv6 subscriber has (RFC 6177). */
export function addressBucket(address: string): string {
  const parsed = ipaddr.process(address);
  if (parsed.kind() === "ipv4") return parsed.toString();
  const prefix = (parsed as ipaddr.IPv6).parts.slice(0, 4).map((part) => part.toString(16));
  return `${prefix.join(":")}::/64`;
}
