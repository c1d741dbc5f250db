import type { LookupAddress } from "node:dns";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { AddressRefused } from "../kernel/port-errors.ts";
import { addressRefusal, checkedLookup, isAddress } from "./address-guard.ts";

// IANA IPv4 and IPv6 special-purpose address registries, and what embeds an IPv4 address.
const SPECIAL_IPV4 = [
  ...["0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24"],
  ...["192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24"],
  ...["198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4", "255.255.255.255/32"],
  "168.63.129.16/32",
];
const SPECIAL_IPV6 = [
  ...["::/128", "::1/128", "::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64"],
  ...["100:0:0:1::/64", "2001::/23", "2001::/32", "2001:2::/48", "2001:3::/32", "2001:4:112::/48", "2001:10::/28"],
  ...["2001:20::/28", "2001:30::/28", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20", "5f00::/16"],
  ...["fc00::/7", "fd00:ec2::254/128", "fe80::/10", "fec0::/10", "ff00::/8", "200::/7", "4000::/3"],
];
const PUBLIC = [
  "1.1.1.1",
  "8.8.8.8",
  "93.184.215.14",
  "104.16.0.1",
  "172.32.0.1",
  "100.128.0.1",
  "192.0.1.1",
  "223.255.255.254",
];
const PUBLIC_IPV6 = ["2606:4700::1111", "2001:4860:4860::8888", "2a00:1450:4001:81b::200e", "2400:cb00::1", "2003::1"];

// Written apart from ipaddr.js, so that a mistake there shows.
function bits(address: string): { value: bigint; width: 32 | 128 } {
  if (address.includes("."))
    return { value: address.split(".").reduce((sum, part) => sum * 256n + BigInt(part), 0n), width: 32 };
  const [head = "", tail] = address.split("::");
  const left = head === "" ? [] : head.split(":");
  const right = tail === undefined || tail === "" ? [] : tail.split(":");
  const zeros = Array.from({ length: 8 - left.length - right.length }, () => "0");
  const groups = tail === undefined ? left : [...left, ...zeros, ...right];
  return { value: groups.reduce((sum, part) => sum * 65_536n + BigInt(`0x${part}`), 0n), width: 128 };
}

function written(value: bigint, width: 32 | 128): string {
  if (width === 32) return [24n, 16n, 8n, 0n].map((shift) => (value >> shift) & 255n).join(".");
  return Array.from({ length: 8 }, (_, at) => ((value >> BigInt(112 - at * 16)) & 0xffffn).toString(16)).join(":");
}

function within(block: string): fc.Arbitrary<string> {
  const [base = "", prefix = ""] = block.split("/");
  const { value, width } = bits(base);
  const free = BigInt(width - Number(prefix));
  return fc.bigInt({ min: 0n, max: (1n << free) - 1n }).map((host) => written(value | host, width));
}

/** The address in one of the many forms that a URL allows. */
function spelled(address: string): fc.Arbitrary<string> {
  const octets = address.split(".").map(Number) as [number, number, number, number];
  const number = fc.constantFrom(
    (part: number) => String(part),
    (part: number) => `0x${part.toString(16)}`,
    (part: number) => `0X${part.toString(16).toUpperCase().padStart(12, "0")}`,
    (part: number) => `0${part.toString(8)}`,
  );
  const parts = fc.constantFrom(1, 2, 3, 4).map((count) => {
    const last = octets.slice(count - 1).reduce((sum, part) => sum * 256 + part, 0);
    return [...octets.slice(0, count - 1), last];
  });
  const fullWidth = (text: string) => text.replace(/[0-9]/g, (digit) => String.fromCodePoint(0xff10 + Number(digit)));
  const escaped = (text: string) => text.replace(/[0-9]/g, (digit) => `%3${digit}`);
  const disguise = fc.constantFrom(
    (text: string) => text,
    fullWidth,
    escaped,
    (text: string) => text.replaceAll(".", "。"),
  );
  return fc
    .tuple(parts, fc.array(number, { minLength: 4, maxLength: 4 }), disguise, fc.constantFrom("", "."))
    .map(([values, forms, hide, dot]) => hide(values.map((value, at) => forms[at]!(value)).join(".")) + dot);
}

describe("the address guard", () => {
  for (const block of [...SPECIAL_IPV4, ...SPECIAL_IPV6])
    it(`refuses every address of ${block}`, () => {
      fc.assert(
        fc.property(within(block), (address) => {
          expect(addressRefusal(address)).toMatch(/^the address is not public \(/);
        }),
        { numRuns: 60 },
      );
    });

  it("lets public addresses pass", () => {
    for (const address of [...PUBLIC, ...PUBLIC_IPV6])
      expect([address, addressRefusal(address)]).toEqual([address, undefined]);
  });

  it("refuses an IPv6 address that carries an IPv4 address, public or not", () => {
    const inner = fc
      .tuple(fc.nat(0xffff), fc.nat(0xffff))
      .map(([high, low]) => `${high.toString(16)}:${low.toString(16)}`);
    fc.assert(
      fc.property(inner, (ipv4) => {
        for (const address of [
          `::ffff:${ipv4}`,
          `::${ipv4}`,
          `64:ff9b::${ipv4}`,
          `64:ff9b:1::${ipv4}`,
          `2002:${ipv4}::1`,
          `2001:0:1:2:3:4:${ipv4}`,
        ])
          expect([address, addressRefusal(address)]).not.toEqual([address, undefined]);
      }),
    );
  });

  it("sees through every way to write an IPv4 address in a URL", () => {
    const cases = fc
      .constantFrom(...SPECIAL_IPV4)
      .chain(within)
      .chain((address) => fc.tuple(fc.constant(address), spelled(address)));
    fc.assert(
      fc.property(cases, ([address, form]) => {
        const { hostname } = new URL(`https://${form}/`);
        expect(hostname).toBe(address);
        expect(isAddress(hostname)).toBe(true);
        expect(addressRefusal(hostname)).toBeDefined();
      }),
      { numRuns: 500 },
    );
  });

  it("takes an IPv6 literal as a URL writes it, in brackets", () => {
    expect(isAddress(new URL("https://[::1]/").hostname)).toBe(true);
    expect(addressRefusal("[::1]")).toContain("loopback");
    expect(addressRefusal(new URL("https://[::ffff:127.0.0.1]/").hostname)).toContain("ipv4Mapped");
    expect(addressRefusal("[2606:4700::1111]")).toBeUndefined();
  });

  it("does not take a name for an address, and refuses what is neither", () => {
    for (const name of ["example.com", "localhost", "a.b", "xn--bcher-kva.example"])
      expect(isAddress(name)).toBe(false);
    expect(addressRefusal("example.com")).toBe("the address is not an IP address");
    expect(addressRefusal("")).toBe("the address is not an IP address");
  });
});

function lookUp(addresses: LookupAddress[] | Error, all: boolean): Promise<{ error: Error | null; given: unknown[] }> {
  const lookup = checkedLookup((_name, options, callback) => {
    expect(options.all).toBe(true);
    if (addresses instanceof Error) callback(addresses, []);
    else callback(null, addresses);
  });
  return new Promise((resolve) =>
    lookup("crm.example", { all }, (error, ...given: unknown[]) => resolve({ error, given })),
  );
}

describe("the checked lookup", () => {
  const good = { address: "93.184.215.14", family: 4 };
  const bad = { address: "10.0.0.1", family: 4 };

  it("hands on public addresses, all of them or the first, as the socket asks", async () => {
    const other = { address: "2606:4700::1111", family: 6 };
    expect(await lookUp([good, other], true)).toEqual({ error: null, given: [[good, other]] });
    expect(await lookUp([other, good], false)).toEqual({ error: null, given: [other.address, 6] });
  });

  it("refuses a name with one address that is not public, wherever it stands in the answer", async () => {
    for (const answer of [[bad], [good, bad], [bad, good]])
      for (const all of [true, false]) {
        const { error, given } = await lookUp(answer, all);
        expect(error).toBeInstanceOf(AddressRefused);
        expect((error as AddressRefused).details).toEqual({
          host: "crm.example",
          reason: expect.stringContaining("private"),
        });
        expect(given).toEqual([""]);
      }
  });

  it("says that a name is unknown when the answer is empty, and hands on the resolver's error", async () => {
    expect((await lookUp([], true)).error).toMatchObject({ code: "ENOTFOUND" });
    const failure = Object.assign(new Error("try again"), { code: "EAI_AGAIN" });
    expect((await lookUp(failure, true)).error).toBe(failure);
  });
});
