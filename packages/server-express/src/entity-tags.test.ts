import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startTestServer, type TestServer } from "./test-server.ts";

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.close());

let made = 0;
/** A user who has been renamed once, so at version 2. */
async function user(): Promise<string> {
  made += 1;
  const userId = `user-${made}`;
  await server.call("/users", { json: { userId, name: "One" } });
  await server.call(`/users/${userId}`, { method: "PATCH", json: { name: "Two" } });
  return `/users/${userId}`;
}

const rename = (path: string, name: string, headers: Readonly<Record<string, string>>) =>
  server.call(path, { method: "PATCH", json: { name }, headers });

describe("entity tags", () => {
  test("are the version of what is shown; a page has none", async () => {
    const path = await user();
    const { headers, json } = await server.call(path);
    expect([headers.get("etag"), json.version]).toEqual(['"2"', 2]);
    expect((await server.call("/users")).headers.get("etag")).toBeNull();
    expect((await server.call("/tenant")).headers.get("etag")).toBe('"1"');
  });

  test.each(['"2"', 'W/"2"', '"1", "2"', ' "x",, W/"2"', "*"])(
    "a client that has it need not read it again: %s",
    async (tags) => {
      const path = await user();
      for (const method of ["GET", "HEAD"]) {
        const { status, text, headers } = await server.call(path, { method, headers: { "if-none-match": tags } });
        expect([status, text, headers.get("etag"), headers.get("content-length")]).toEqual([304, "", '"2"', null]);
      }
    },
  );

  test.each(['"1"', '"22"', 'W/"1"', '"2,"'])("a client that has another one gets it: %s", async (tags) => {
    const path = await user();
    const { status, json } = await server.call(path, { headers: { "if-none-match": tags } });
    expect([status, json.name]).toEqual([200, "Two"]);
  });

  test.each(['"2"', '"1", "2"', '"9", "7", "2"', "*"])(
    "a change is done when the version is among them: %s",
    async (tags) => {
      const path = await user();
      expect((await rename(path, "Three", { "if-match": tags })).status).toBe(204);
      expect((await server.call(path)).json).toMatchObject({ name: "Three", version: 3 });
    },
  );

  test.each<[string, string]>([
    ['"1"', "version_mismatch"],
    ['"3", "4"', "version_mismatch"],
    ['W/"2"', "http.precondition_failed"],
    ['"two"', "http.precondition_failed"],
    ['"02"', "http.precondition_failed"],
  ])("a change is refused when it is not, and nothing happens: %s", async (tags, code) => {
    const path = await user();
    const { status, problem } = await rename(path, "Three", { "if-match": tags });
    expect([status, problem.code]).toEqual([412, code]);
    expect((await server.call(path)).json).toMatchObject({ name: "Two", version: 2 });
  });

  test("of two who saw the same version one wins", async () => {
    const path = await user();
    const results = await Promise.all(["A", "B", "C"].map((name) => rename(path, name, { "if-match": '"2"' })));
    expect(results.map(({ status }) => status).toSorted()).toEqual([204, 412, 412]);
    expect((await server.call(path)).json.version).toBe(3);
  });

  test("a repeated change with its key is answered as before, although the version has moved", async () => {
    const path = await user();
    const headers = { "if-match": '"2"', "idempotency-key": `${path}-once` };
    for (let round = 0; round < 2; round += 1) expect((await rename(path, "Three", headers)).status).toBe(204);
    expect((await server.call(path)).json.version).toBe(3);
  });

  test("If-Match comes before If-None-Match, and holds for reading too", async () => {
    const path = await user();
    const read = (headers: Readonly<Record<string, string>>) => server.call(path, { headers });
    expect((await read({ "if-match": '"1"', "if-none-match": '"2"' })).problem.code).toBe("http.precondition_failed");
    expect((await read({ "if-match": '"2"', "if-none-match": '"2"' })).status).toBe(304);
    expect((await read({ "if-match": '"2"', "if-none-match": '"1"' })).status).toBe(200);
    expect((await read({ "if-match": 'W/"2"' })).status).toBe(412);
  });

  test("other refusals come first", async () => {
    const headers = { "if-match": '"1"' };
    expect((await rename("/users/nobody", "x", headers)).status).toBe(404);
    const path = await user();
    expect((await rename(path, "", headers)).status).toBe(400);
    expect((await server.call(path, { key: server.keys.reader, headers })).status).toBe(403);
    expect((await server.call(path, { key: null, headers })).status).toBe(401);
  });

  test("where they cannot be heeded they are refused, and so is what is no tag", async () => {
    const refused = async (path: string, init: Parameters<TestServer["call"]>[1]) => {
      const { status, problem } = await server.call(path, init);
      return [status, problem.errors?.[0]?.path];
    };
    const path = await user();
    const headers = { "if-match": '"1"' };
    expect(await refused("/users", { headers })).toEqual([400, "if-match"]);
    expect(await refused("/notes", { json: { text: "x" }, headers })).toEqual([400, "if-match"]);
    expect(await refused("/prints", { method: "POST", headers })).toEqual([400, "if-match"]);
    expect(await refused("/feed", { headers })).toEqual([400, "if-match"]);
    const unless = { "if-none-match": "*" };
    expect(await refused(path, { method: "PATCH", json: { name: "x" }, headers: unless })).toEqual([
      400,
      "if-none-match",
    ]);
    for (const tag of ["2", '"2', 'w/"2"', "", ",", '"2" *'])
      expect([tag, await refused(path, { headers: { "if-match": tag } })]).toEqual([tag, [400, "if-match"]]);
  });

  test("stand in the OpenAPI document", async () => {
    const { paths } = (await server.call("/openapi.json")).json;
    const { get, patch } = paths["/users/{userId}"];
    const named = (operation: { parameters: { $ref?: string }[] }) =>
      operation.parameters.flatMap(({ $ref }) => ($ref?.includes("If") ? [$ref.split("/").at(-1)] : []));
    expect([named(get), named(patch), named(paths["/users"].get)]).toEqual([
      ["IfMatch", "IfNoneMatch"],
      ["IfMatch"],
      [],
    ]);
    expect(get.responses["200"].headers.etag).toBeDefined();
    expect(get.responses["304"]).toBeDefined();
    expect(Object.keys(patch.responses)).toContain("412");
  });
});
