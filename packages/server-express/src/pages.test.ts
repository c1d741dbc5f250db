import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, test } from "vitest";
import { startTestServer } from "./test-server.ts";

test("a page links to the next one, wherever the client reached it", async () => {
  const server = await startTestServer();
  for (let at = 0; at < 5; at += 1) await server.call("/notes", { json: { text: `note ${at}` } });
  // A proxy that shows the API under another path, and tells the server nothing of it.
  const proxy = createServer(async (req, res) => {
    const answer = await fetch(server.origin + req.url!.replace("/public/v2", ""), {
      headers: { "x-api-key": String(req.headers["x-api-key"]) },
    });
    res.writeHead(answer.status, { link: answer.headers.get("link") ?? "" }).end(await answer.text());
  }).listen(0, "127.0.0.1");
  await once(proxy, "listening");
  const { port } = proxy.address() as AddressInfo;

  const seen: string[] = [];
  let address: string | undefined = `http://127.0.0.1:${port}/public/v2/notes?limit=2&locked=false`;
  let pages = 0;
  while (address !== undefined) {
    const answer = await fetch(address, { headers: { "x-api-key": server.keys.acme } });
    const { items, next } = (await answer.json()) as { items: { text: string }[]; next?: string };
    seen.push(...items.map(({ text }) => text));
    const [, reference] = /^<([^>]*)>; rel="next"$/.exec(answer.headers.get("link") ?? "") ?? [];
    expect(reference === undefined).toBe(next === undefined);
    address = reference === undefined ? undefined : new URL(reference, address).href;
    if (address !== undefined) expect(address).toMatch(/\/public\/v2\/notes\?limit=2&locked=false&after=/);
    pages += 1;
  }
  expect([pages, seen.length, new Set(seen).size]).toEqual([3, 5, 5]);
  expect((await server.call("/notes/x")).headers.get("link")).toBeNull();
  proxy.close();
  proxy.closeAllConnections();
  await server.close();
});
