import { byCursor, byLink, byOffset, connectorAction, type Paging, pagesOf } from "@armature/core";
import { answer, type RecordedRequest } from "@armature/core/testing";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { api, played, playedApp } from "./played.ts";

const list = z.object({ items: z.array(z.number()), next: z.string().nullable().optional() });
type List = z.infer<typeof list>;

/** A connector whose action gathers every page that it is given. */
async function gathering(next: Paging<List>, more: { maxPages?: number; stopAfter?: number } = {}) {
  const { maxPages, stopAfter = Number.POSITIVE_INFINITY } = more;
  const definition = {
    ...played(),
    actions: {
      all: connectorAction({
        summary: "Gathers.",
        risk: "read",
        input: z.strictObject({}),
        output: z.array(z.number()),
        run: async (_input, { http }) => {
          const found: number[] = [];
          const pages = http.pages("/list", {
            query: { size: 2 },
            schema: list,
            next,
            ...(maxPages === undefined ? {} : { maxPages }),
          });
          for await (const { items } of pages) {
            found.push(...items);
            if (found.length >= stopAfter) break;
          }
          return found;
        },
      }),
    },
  };
  const { connect, simulator, clock } = await playedApp(definition);
  const { invoke } = await connect();
  return { all: (options?: object) => invoke("all", {}, options) as Promise<number[]>, simulator, clock };
}

const route = `GET ${api}/list`;
const after = byCursor<List>("after", (page) => page.next);

describe("pages of a provider", () => {
  test("follow each other by a cursor", async () => {
    const { all, simulator } = await gathering(after);
    simulator.on(route, ({ query }) => {
      const from = Number(query.get("after") ?? 0);
      return answer.json({ items: [from, from + 1], next: from < 4 ? `${from + 2}` : null });
    });
    expect(await all()).toEqual([0, 1, 2, 3, 4, 5]);
    expect(simulator.requests.map(({ url }) => new URL(url).search)).toEqual([
      "?size=2",
      "?size=2&after=2",
      "?size=2&after=4",
    ]);
  });

  test("follow each other by their number of items", async () => {
    const { all, simulator } = await gathering(byOffset("offset", ({ items }) => items.length));
    simulator.on(route, ({ query }) => {
      const from = Number(query.get("offset") ?? 0);
      return answer.json({ items: [0, 1, 2, 3, 4].slice(from, from + 2) });
    });
    expect(await all()).toEqual([0, 1, 2, 3, 4]);
  });

  test("follow each other by links, whatever else the header holds", async () => {
    const { all, simulator } = await gathering(byLink());
    const linked = (request: RecordedRequest) => {
      const page = Number(request.query.get("page") ?? 1);
      const links = [
        `<${api}/list?page=1>; rel="first prev"`,
        `<${api}/list?page=9,1>; title="a, b; rel=next"; rel=last`,
      ];
      if (page < 3) links.push(`</list?page=${page + 1}&q=a,b>;title="x";rel="NEXT"`);
      return answer.json({ items: [page] }, { headers: { link: links.join(", ") } });
    };
    simulator.on(route, linked);
    expect(await all()).toEqual([1, 2, 3]);
  });

  test.each([
    ["another origin", "https://evil.example/list"],
    ["another origin that begins like it", `${api}.evil.example/list`],
    ["an address with a password", `https://u:p@${new URL(api).host}/list`],
    ["plain http", api.replace("https", "http")],
    ["no address", "http://["],
  ])("are not followed to %s", async (_what, target) => {
    const { all, simulator } = await gathering(byLink());
    simulator.on(route, answer.json({ items: [1] }, { headers: { link: `<${target}>; rel="next"` } }));
    await expect(all()).rejects.toMatchObject({ code: "provider.answered_garbage" });
    expect(simulator.requests).toHaveLength(1);
    simulator.assertNoUnexpected();
  });

  test("are not looked for longer than it takes, whatever the header holds", async () => {
    const { all, simulator } = await gathering(byLink());
    simulator.on(route, answer.json({ items: [1] }, { headers: { link: "<".repeat(150_000) } }));
    const begun = performance.now();
    expect(await all()).toEqual([1]);
    // Where each opening bracket looks for its end anew it is a quarter of a minute.
    expect(performance.now() - begun).toBeLessThan(5_000);
  });

  test("end with an error when they lead in a circle", async () => {
    const { all, simulator } = await gathering(after);
    const next = (name: string) => answer.json({ items: [1], next: name });
    simulator.on(route, next("a"), next("b"), next("a"));
    await expect(all()).rejects.toMatchObject({ code: "provider.answered_garbage" });
    expect(simulator.requests).toHaveLength(3);
  });

  test("end with an error, and not too early, when there are more than expected", async () => {
    const { all, simulator } = await gathering(after, { maxPages: 3 });
    simulator.on(route, ({ query }) => answer.json({ items: [1], next: `${Number(query.get("after") ?? 0) + 1}` }));
    await expect(all()).rejects.toMatchObject({ code: "provider.answered_garbage" });
    expect(simulator.requests).toHaveLength(3);
  });

  test("are read when they are asked for and not before", async () => {
    const { all, simulator } = await gathering(after, { stopAfter: 2 });
    simulator.on(route, ({ query }) => answer.json({ items: [1], next: `${Number(query.get("after") ?? 0) + 1}` }));
    expect(await all()).toEqual([1, 1]);
    expect(simulator.requests).toHaveLength(2);
  });

  test("end with the caller's deadline", async () => {
    const { all, simulator, clock } = await gathering(after);
    simulator.on(route, answer.json({ items: [1], next: "2" }), answer.hang());
    const late = expect(all({ timeoutMs: 1_000 })).rejects.toMatchObject({ code: "deadline_exceeded" });
    await simulator.untilRequested(2);
    await clock.advance(1_000);
    await late;
  });
});

test("every page of an action's result can be iterated, and a cursor that comes twice is an error", async () => {
  const pages = [
    { n: 1, next: "a" },
    { n: 2, next: "b" },
    { n: 3, next: null },
  ];
  const asked: (string | undefined)[] = [];
  const at = (cursor: string | undefined) => {
    asked.push(cursor);
    return Promise.resolve(pages[cursor === undefined ? 0 : cursor === "a" ? 1 : 2]!);
  };
  const seen: number[] = [];
  for await (const { n } of pagesOf(at)) seen.push(n);
  expect([seen, asked]).toEqual([
    [1, 2, 3],
    [undefined, "a", "b"],
  ]);
  await expect(
    (async () => {
      for await (const _page of pagesOf(() => Promise.resolve({ next: "a" })));
    })(),
  ).rejects.toThrow("circle");
});
