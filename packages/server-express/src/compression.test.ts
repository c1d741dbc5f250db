import { request } from "node:http";
import { brotliDecompressSync, gunzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { apiDocs } from "./api-docs.ts";
import { compressed } from "./compression.ts";
import { startTestServer, type TestServer } from "./test-server.ts";

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer({ compression: true, docs: true });
  for (let at = 0; at < 20; at += 1) await server.call("/notes", { json: { text: `a note ${"x".repeat(100)}` } });
});
afterAll(() => server.close());

interface Raw {
  readonly encoding: string | undefined;
  readonly vary: string | undefined;
  readonly length: number;
  readonly body: Buffer;
}

/** As it comes over the wire: `fetch` would take it apart. */
function get(path: string, accept: string | undefined, method = "GET"): Promise<Raw> {
  const headers = { "x-api-key": server.keys.acme, ...(accept === undefined ? {} : { "accept-encoding": accept }) };
  return new Promise((resolve, reject) => {
    const req = request(server.origin + path, { method, headers }, async (res) => {
      const parts: Buffer[] = [];
      for await (const part of res) parts.push(part as Buffer);
      const { "content-encoding": encoding, vary, "content-length": length } = res.headers;
      resolve({ encoding, vary, length: Number(length), body: Buffer.concat(parts) });
    });
    req.once("error", reject);
    req.end();
  });
}

describe("compression", () => {
  test.each<[string | undefined, string | undefined]>([
    [undefined, undefined],
    ["", undefined],
    ["identity", undefined],
    ["gzip", "gzip"],
    ["gzip, br", "br"],
    ["br;q=0.5, gzip;q=0.8", "gzip"],
    ["br;q=0, gzip;q=0", undefined],
    ["*", "br"],
    ["*;q=0.5, br;q=0", "gzip"],
    ["identity;q=1, gzip;q=0.5", undefined],
    ["deflate", undefined],
    ["gzip;q=x", undefined],
  ])("follows what the client takes: %j", async (accept, encoding) => {
    const answer = await get("/notes", accept);
    expect([accept, answer.encoding, answer.vary]).toEqual([accept, encoding, "Accept-Encoding"]);
    expect(answer.length).toBe(answer.body.byteLength);
    const text =
      encoding === "br"
        ? brotliDecompressSync(answer.body)
        : encoding === "gzip"
          ? gunzipSync(answer.body)
          : answer.body;
    expect(JSON.parse(text.toString()).items).toHaveLength(20);
  });

  test("says of a HEAD what it would say of a GET", async () => {
    const { encoding, length, body } = await get("/notes", "gzip", "HEAD");
    expect([encoding, length, body.byteLength]).toEqual(["gzip", (await get("/notes", "gzip")).length, 0]);
  });

  test("leaves alone what is short, what streams, what has an entity tag, and refusals", async () => {
    const long = "x".repeat(2_000);
    for (const path of ["/notes?limit=1", "/feed", "/users/ann", `/notes/${long}`, `/nothing/${long}`]) {
      const { encoding } = await get(path, "gzip, br");
      expect([path, encoding]).toEqual([path, undefined]);
    }
    expect((await get("/openapi.json", "br")).encoding).toBe("br");
    expect((await get("/docs/swagger-ui.css", "br")).encoding).toBe("br");
  });

  test("leaves alone what commands and actions answer, and what a host's own sign-in lets in", async () => {
    const made = await server.call("/api-keys", {
      json: { name: "n".repeat(100) },
      headers: { "accept-encoding": "br" },
    });
    expect([made.status, made.headers.get("content-encoding")]).toEqual([200, null]);
    const cookies = await startTestServer({ compression: true, authenticate: () => ({ tenant: "acme", user: "ann" }) });
    for (let at = 0; at < 20; at += 1) await cookies.call("/notes", { json: { text: "x".repeat(100) } });
    const list = await cookies.call("/notes", { headers: { "accept-encoding": "br" } });
    expect([list.text.length > 1024, list.headers.get("content-encoding")]).toEqual([true, null]);
    await cookies.close();
  });

  test("is done once for what everybody is given: nobody can have the server do it over and over", async () => {
    const [, asset] = [...apiDocs(undefined)].find(([path]) => path.endsWith(".css"))!;
    const given = async (accept: string) => (await compressed(await asset(), { "accept-encoding": accept })).body;
    expect(await given("br")).toBe(await given("br"));
    expect(await given("gzip")).toBe(await given("gzip"));
    expect(await given("gzip")).not.toBe(await given("br"));
  });

  test("is off where it is not switched on", async () => {
    const plain = await startTestServer();
    const { headers } = await plain.call("/openapi.json", { headers: { "accept-encoding": "br" } });
    expect([headers.get("content-encoding"), headers.get("vary")]).toEqual([null, null]);
    await plain.close();
  });
});
