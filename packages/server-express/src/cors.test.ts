import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createHttpHandler } from "./http-handler.ts";
import { startTestServer, type TestServer } from "./test-server.ts";

const APP = "https://app.example.com";
let server: TestServer;
beforeAll(async () => {
  server = await startTestServer({ cors: { origins: [APP], credentials: true }, compression: true });
});
afterAll(() => server.close());

const preflight = (origin: string, path = "/notes") =>
  server.call(path, {
    method: "OPTIONS",
    key: null,
    headers: {
      origin,
      "access-control-request-method": "POST",
      "access-control-request-headers": "authorization,content-type,if-match",
    },
  });

const sharing = (headers: Headers) =>
  Object.fromEntries([...headers].filter(([name]) => name.startsWith("access-control-")));

describe("pages of other origins", () => {
  test("may call when they are listed, and read what a client needs", async () => {
    const { status, headers } = await server.call("/notes", { headers: { origin: APP } });
    expect(status).toBe(200);
    expect(sharing(headers)).toEqual({
      "access-control-allow-origin": APP,
      "access-control-allow-credentials": "true",
      "access-control-expose-headers": "etag, link, retry-after, ratelimit, ratelimit-policy, x-request-id",
    });
    expect(headers.get("vary")).toMatch(/\bOrigin\b/);
  });

  test("ask beforehand, without a key, and are told what they may send", async () => {
    const { status, headers } = await preflight(APP);
    expect(status).toBe(204);
    expect(sharing(headers)).toEqual({
      "access-control-allow-origin": APP,
      "access-control-allow-credentials": "true",
      "access-control-allow-methods": "POST, GET, HEAD, OPTIONS",
      "access-control-allow-headers": expect.stringContaining("if-match"),
      "access-control-max-age": "600",
    });
  });

  test.each(["https://evil.example", "https://app.example.com.evil.example", "http://app.example.com", "null"])(
    "are not told anything when they are %s",
    async (origin) => {
      for (const answer of [await preflight(origin), await server.call("/notes", { headers: { origin } })]) {
        expect(sharing(answer.headers)).toEqual({});
        // A cache must not give this to a page that is listed.
        expect(answer.headers.get("vary")).toMatch(/\bOrigin\b/);
      }
    },
  );

  test("can read refusals too", async () => {
    const { status, headers } = await server.call("/notes", { key: null, headers: { origin: APP } });
    expect([status, headers.get("access-control-allow-origin")]).toEqual([401, APP]);
  });

  test("may not call at all where nothing is configured", async () => {
    const other = await startTestServer();
    try {
      const { headers } = await other.call("/notes", { headers: { origin: APP } });
      expect([sharing(headers), headers.get("vary")]).toEqual([{}, null]);
    } finally {
      await other.close();
    }
  });

  test("may all call where any may, and then without cookies", async () => {
    const other = await startTestServer({ cors: { origins: "*" } });
    try {
      const { headers } = await other.call("/notes", { headers: { origin: "https://anybody.example" } });
      expect(headers.get("access-control-allow-origin")).toBe("*");
      expect(headers.get("access-control-allow-credentials")).toBeNull();
    } finally {
      await other.close();
    }
    const start = (cors: object) => () => createHttpHandler(server.app, { cors } as never);
    expect(start({ origins: "*", credentials: true })).toThrow(TypeError);
    expect(start({ origins: ["https://app.example.com/path"] })).toThrow(TypeError);
    expect(start({ origins: ["*"] })).toThrow(TypeError);
  });
});

test("every answer tells browsers to be careful with it", async () => {
  for (const path of ["/notes", "/nothing", "/health", "/oauth/callback"]) {
    const { headers } = await server.call(path);
    expect(headers.get("x-content-type-options")).toBe("nosniff");
    expect(headers.get("content-security-policy")).toContain("default-src 'none'");
    expect(headers.get("content-security-policy")).toContain("frame-ancestors 'none'");
    expect(headers.get("referrer-policy")).toBe("no-referrer");
    expect(headers.get("strict-transport-security")).toBeNull();
  }
  const secure = await startTestServer({ hstsSeconds: 3600 });
  expect((await secure.call("/health")).headers.get("strict-transport-security")).toBe("max-age=3600");
  await secure.close();
});
