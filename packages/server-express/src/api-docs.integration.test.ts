import { execFile, spawnSync } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createHttpHandler } from "./http-handler.ts";
import { serveNode } from "./node-adapter.ts";
import { callAs, startTestServer, type TestServer } from "./test-server.ts";

const BROWSERS = ["chromium", "chromium-browser", "google-chrome"];
const browser = BROWSERS.find((each) => spawnSync(each, ["--version"]).status === 0);
if (browser === undefined && process.env["CI"] === undefined)
  console.warn("Skipped: install chromium to see the API's page in a browser.");

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer({ docs: true, compression: true });
});
afterAll(() => server.close());

/** What the browser has made of the page, and what it complained of. */
function look(url: string): Promise<{ readonly dom: string; readonly complaints: string }> {
  const flags = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--v=0"];
  const args = [...flags, "--virtual-time-budget=20000", "--dump-dom", url];
  return new Promise((resolve, reject) => {
    execFile(browser!, args, { timeout: 60_000, maxBuffer: 64 * 1024 * 1024 }, (error, dom, log) => {
      if (error !== null) reject(error);
      else
        resolve({
          dom,
          complaints: log
            .split("\n")
            .filter((line) => line.includes(":CONSOLE"))
            .join("\n"),
        });
    });
  });
}

describe("the API's page", () => {
  test("and all that it loads come from this server, under a policy without inline scripts or styles", async () => {
    const page = await callAs(server.origin, "", "/docs", { key: null });
    expect([page.status, page.headers.get("content-type")]).toEqual([200, "text/html; charset=utf-8"]);
    const policy = page.headers.get("content-security-policy")!;
    expect(policy).toContain("default-src 'none'");
    expect(policy).not.toMatch(/unsafe|https?:|\*/);
    const loaded = [...page.text.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, address]) => address!);
    expect(loaded.filter((address) => address !== "data:,")).toHaveLength(3);
    for (const address of loaded.filter((each) => each !== "data:,")) {
      const { status, headers } = await callAs(server.origin, "", `/${address}`, { key: null });
      expect([address, status, headers.get("x-content-type-options")]).toEqual([address, 200, "nosniff"]);
    }
    expect(await callAs(server.origin, "", "/docs/package.json", { key: null })).toMatchObject({ status: 404 });
  });

  test("is not there unless it is asked for", async () => {
    const other = await startTestServer();
    try {
      expect((await other.call("/docs")).status).toBe(404);
    } finally {
      await other.close();
    }
  });

  test.skipIf(browser === undefined && process.env["CI"] === undefined)(
    "shows every operation in a real browser, which has nothing to complain of, also under another path",
    { timeout: 120_000 },
    async () => {
      const handler = createHttpHandler(server.app, { docs: true });
      const mounted = createServer((req, res) => {
        void serveNode(handler, req, res, { url: req.url!.replace(/^\/v1\/api/, ""), mountPath: "/v1/api" });
      }).listen(0, "127.0.0.1");
      await once(mounted, "listening");
      try {
        const { port } = mounted.address() as AddressInfo;
        for (const url of [`${server.origin}/docs`, `http://127.0.0.1:${port}/v1/api/docs#/desk/desk.echo`]) {
          const { dom, complaints } = await look(url);
          expect(complaints).toBe("");
          const shown = [...dom.matchAll(/opblock-summary-path[^>]*data-path="([^"]+)"/g)].map(([, path]) => path);
          const routes = server.app.operations.flatMap(({ operation }) => operation.http?.split(" ")[1] ?? []);
          expect(shown).toEqual(expect.arrayContaining(routes));
        }
      } finally {
        mounted.close();
        mounted.closeAllConnections();
      }
    },
  );
});
