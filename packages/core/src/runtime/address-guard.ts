import type { LookupAddress, LookupOptions } from "node:dns";
import type { LookupFunction } from "node:net";
import ipaddr from "ipaddr.js";
import { AddressRefused } from "../kernel/port-errors.ts";

/** `dns.lookup`, as far as it is used here. */
export type ResolveHost = (
  hostname: string,
  options: LookupOptions & { all: true },
  callback: (error: NodeJS.ErrnoException | null, addresses: LookupAddress[]) => void,
) => void;

const GLOBAL_UNICAST = ipaddr.IPv6.parse("2000::");

// A virtual machine on Azure reaches its platform under this address of the public range.
const AZURE_PLATFORM = "168.63.129.16";

/**
 * Why no call may go to this IP address, or undefined when it is a public one.
 *
 * Public is what ipaddr.js calls unicast in the IANA special-purpose registries, and for IPv6 only inside 2000::/3,
 * the one block that is handed out: everything that embeds an IPv4 address (mapped, compatible, NAT64, 6to4, Teredo)
 * is refused with it, whatever the inner address is. A NAT64 prefix of a network's own cannot be told from a public
 * address.
 */
export function addressRefusal(address: string): string | undefined {
  const literal = unbracketed(address);
  if (!ipaddr.isValid(literal)) return "the address is not an IP address";
  const parsed = ipaddr.parse(literal);
  const range = parsed.range();
  if (range !== "unicast") return `the address is not public (${range})`;
  if (parsed.toString() === AZURE_PLATFORM) return "the address is not public (platform)";
  if (parsed instanceof ipaddr.IPv6 && !parsed.match([GLOBAL_UNICAST, 3]))
    return "the address is not public (unassigned)";
  return undefined;
}

/** Whether a URL's host is an address and not a name. WHATWG URLs have normalised every textual form of IPv4. */
export function isAddress(hostname: string): boolean {
  return ipaddr.isValid(unbracketed(hostname));
}

/**
 * A lookup for a socket's `lookup` option: what it hands on is what is connected to, so a name cannot mean another
 * address a moment later. One refused address refuses the name. Sockets do not ask it about literals.
 */
export function checkedLookup(
  resolve: ResolveHost,
  refusal: (address: string) => string | undefined = addressRefusal,
): LookupFunction {
  return (hostname, options, callback) => {
    resolve(hostname, { ...options, all: true }, (error, addresses) => {
      if (error !== null) return callback(error, "");
      for (const { address } of addresses) {
        const reason = refusal(address);
        if (reason !== undefined) return callback(new AddressRefused({ host: hostname, reason }), "");
      }
      const first = addresses[0];
      if (first === undefined) return callback(Object.assign(new Error("no address"), { code: "ENOTFOUND" }), "");
      if (options.all === true) return callback(null, addresses);
      callback(null, first.address, first.family);
    });
  };
}

function unbracketed(hostname: string): string {
  return hostname.startsWith("[") && hostname.endsWith("]") ? hostname.slice(1, -1) : hostname;
}
