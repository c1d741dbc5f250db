import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { InvalidInput } from "../kernel/errors.ts";
import { AddressRefused } from "../kernel/port-errors.ts";
import type { ResolveHost } from "./address-guard.ts";
import { GuardedHttpClient } from "./guarded-http-client.ts";

/** Every way that is known to lead a caller to an address of the inside, by how it is written. */
const literals: Readonly<Record<string, readonly string[]>> = {
  "an IPv4 address of the inside": [
    "127.0.0.1",
    "127.255.255.254",
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "0.0.0.0",
    "0.1.2.3",
    "192.0.0.1",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "168.63.129.16",
  ],
  "decimal, octal and hexadecimal forms": [
    "2130706433",
    "0177.0.0.1",
    "017700000001",
    "0x7f.0.0.1",
    "0x7f000001",
    "127.1",
    "127.0.1",
    "0",
    "0x0",
    "0xa9fea9fe",
    "2852039166",
  ],
  "other characters, and a dot at the end": [
    "127.0.0.1.",
    "１２７.0.0.1",
    "①②⑦.0.0.1",
    "127。0。0。1",
    "%31%32%37.0.0.1",
  ],
  "IPv6 of the inside": [
    "[::]",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[fe80::1]",
    "[fec0::1]",
    "[fc00::1]",
    "[fd12:3456::1]",
    "[ff02::1]",
  ],
  "IPv4 inside IPv6": [
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::ffff:8.8.8.8]",
    "[::127.0.0.1]",
    "[::ffff:0:127.0.0.1]",
    "[64:ff9b::127.0.0.1]",
    "[64:ff9b::a9fe:a9fe]",
    "[64:ff9b:1::7f00:1]",
    "[2002:7f00:1::]",
    "[2002:a9fe:a9fe::1]",
    "[2001:0:4136:e378:8000:63bf:3fff:fdd2]",
  ],
  "IPv6 that nobody has": ["[2001:db8::1]", "[100::1]", "[4000::1]", "[5f00::1]"],
};

/** What a name may turn out to be. */
const resolved = [
  ["127.0.0.1"],
  ["10.1.2.3"],
  ["169.254.169.254"],
  ["0.0.0.0"],
  ["::1"],
  ["::ffff:10.0.0.1"],
  ["fd00::1"],
  ["fe80::1%eth0"],
  ["64:ff9b::7f00:1"],
  ["93.184.216.34", "127.0.0.1"],
  ["2606:2800:220:1::1", "::1"],
];

let origin: string;
let arrived = 0;
const server = createServer((_request, response) => {
  arrived += 1;
  response.writeHead(302, { location: "http://169.254.169.254/latest/meta-data/" }).end();
});
beforeAll(async () => {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(() => void server.close());

const resolving =
  (...answers: readonly (readonly string[])[]): ResolveHost =>
  (_host, _options, callback) => {
    const addresses = answers.length > 1 ? (answers as (readonly string[])[]).shift()! : answers[0]!;
    callback(
      null,
      addresses.map((address) => ({ address, family: address.includes(":") ? 6 : 4 })),
    );
  };

async function refusal(url: string, resolve?: ResolveHost, allowedOrigins: readonly string[] = []) {
  const client = new GuardedHttpClient({ allowedOrigins, ...(resolve === undefined ? {} : { resolve }) });
  try {
    return await client.send({ method: "GET", url, timeoutMs: 5_000 });
  } catch (error) {
    return error;
  } finally {
    await client.close();
  }
}

describe("a call that would lead inside is refused:", () => {
  test.each(Object.entries(literals).flatMap(([what, hosts]) => hosts.map((host) => [what, host] as const)))(
    "%s: %s",
    async (_what, host) => {
      for (const url of [`https://${host}/`, `https://${host}:8443/x`, `http://${host}/`])
        expect(await refusal(url), url).toBeInstanceOf(AddressRefused);
    },
  );

  test.each(resolved)("a name that is %s %s", async (...addresses) => {
    const resolve = resolving(addresses.filter((address) => address !== undefined));
    for (const name of ["crm.example", "crm.example.", "localhost", "xn--bcher-kva.example"])
      expect(await refusal(`https://${name}/`, resolve), name).toBeInstanceOf(AddressRefused);
  });

  test("a name that is public when it is looked up first, and inside when it is connected to again", async () => {
    let lookups = 0;
    const client = new GuardedHttpClient({
      resolve: (_host, _options, callback) => {
        lookups += 1;
        callback(null, [{ address: lookups === 1 ? "93.184.216.34" : "127.0.0.1", family: 4 }]);
      },
    });
    const ask = (timeoutMs: number) =>
      client.send({ method: "GET", url: `https://rebinding.example:${new URL(origin).port}/`, timeoutMs });
    const before = arrived;
    // Nobody is there under this port; that the address was passed is what counts.
    await expect(ask(300)).rejects.not.toBeInstanceOf(AddressRefused);
    expect(lookups).toBe(1);
    await expect(ask(5_000)).rejects.toBeInstanceOf(AddressRefused);
    // What is looked up is what is connected to: no second look for the same connection.
    expect([lookups, arrived]).toEqual([2, before]);
    await client.close();
  });

  test.each(["https://crm.example@127.0.0.1/", "https://user:word@crm.example/", "https://user@crm.example/"])(
    "a user name before the host: %s",
    async (url) => {
      expect(await refusal(url, resolving(["93.184.216.34"]))).toBeInstanceOf(AddressRefused);
    },
  );

  test.each(["file:///etc/passwd", "ftp://crm.example/", "gopher://crm.example/", "data:text/plain,x"])(
    "another scheme: %s",
    async (url) => {
      expect(await refusal(url)).toBeInstanceOf(AddressRefused);
    },
  );

  test.each(["https://[fe80::1%25eth0]/", "https://[fe80::1%eth0]/", "https://256.1.1.1/", "https://1.2.3.4.5/"])(
    "what is no URL, as addresses with a zone: %s",
    async (url) => {
      expect(await refusal(url)).toBeInstanceOf(InvalidInput);
    },
  );

  test("plain http to a public host, and an origin that is like a listed one", async () => {
    expect(await refusal("http://crm.example/", resolving(["93.184.216.34"]))).toBeInstanceOf(AddressRefused);
    const before = arrived;
    const { port } = new URL(origin);
    for (const url of [`http://127.0.0.2:${port}/`, `http://localhost:${port}/`, `https://127.0.0.1:${port}/`])
      expect(await refusal(url, undefined, [origin]), url).toBeInstanceOf(AddressRefused);
    expect(arrived).toBe(before);
  });
});

test("an origin that the host has listed is reached, and a redirect from there is handed on and not followed", async () => {
  const before = arrived;
  expect(await refusal(`${origin}/`, undefined, [origin])).toMatchObject({ status: 302 });
  expect(arrived).toBe(before + 1);
});
