import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { callAs, rawConnection, startTestServer, type TestServer } from "./test-server.ts";

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer({ bodyLimit: 10_000 });
});
afterAll(() => server.close());

describe("input from the path and the query string", () => {
  test("numbers, booleans and lists get the type that the contract says", async () => {
    const { json } = await server.call(
      "/shelves/7/echo?tags=a&tags=b&weights=1.5&weights=-2e3&exact=true&size=5&text=5",
    );
    expect(json).toEqual({ shelf: 7, tags: ["a", "b"], weights: [1.5, -2000], exact: true, size: 5, text: "5" });
  });

  test("one value of a list is a list", async () => {
    const { json } = await server.call("/shelves/7/echo?tags=a%2Cb&size=all");
    expect(json).toEqual({ shelf: 7, tags: ["a,b"], size: "all" });
  });

  test("encoded text arrives as it was meant", async () => {
    const { json } = await server.call("/shelves/7/echo?text=a+b%20c%26d%3D%C3%A4");
    expect(json).toEqual({ shelf: 7, text: "a b c&d=ä" });
  });

  test.each([
    ["/shelves/seven/echo", "shelf"],
    ["/shelves/7.5/echo", "shelf"],
    ["/shelves/0x7/echo", "shelf"],
    ["/shelves/1e999/echo", "shelf"],
    ["/shelves/%20/echo", "shelf"],
    ["/shelves/7/echo?exact=yes", "exact"],
    ["/shelves/7/echo?exact=", "exact"],
    ["/shelves/7/echo?weights=1&weights=NaN", "weights.1"],
    ["/shelves/7/echo?weights=Infinity", "weights.0"],
    ["/shelves/7/echo?size=1e400", "size"],
    ["/notes?limit=ten", "limit"],
    ["/notes?limit=0", "limit"],
  ])("a value of the wrong type is refused: %s", async (path, field) => {
    const { status, problem } = await server.call(path);
    expect(status).toBe(400);
    expect(problem).toMatchObject({ code: "invalid_input", kind: "invalid" });
    expect(problem.errors?.map((error) => error.path)).toContain(field);
  });

  test.each([
    ["/notes?limt=5", "limt", "is not a known field"],
    ["/notes?limit=5&limit=6", "limit", "is given more than once"],
    ["/shelves/7/echo?shelf=8", "shelf", "is given in the path already"],
    ["/notes?__proto__=1", "__proto__", "is not a known field"],
    ["/notes?constructor=1", "constructor", "is not a known field"],
    ["/notes?limit[]=5", "limit[]", "is not a known field"],
  ])("a parameter that nobody would read is refused: %s", async (path, field, message) => {
    const { status, problem } = await server.call(path);
    expect(status).toBe(400);
    expect(problem.errors).toEqual([{ path: field, message }]);
  });

  test.each(["/notes?after=%ff", "/notes?after=%", "/notes?%c3=1", "/notes/%ff", "/notes/%c0%ae"])(
    "what is not percent-encoded UTF-8 is refused: %s",
    async (path) => {
      const { status, problem } = await server.call(path);
      expect([status, problem.code]).toEqual([400, "invalid_input"]);
      expect(problem.detail).toContain("percent-encoded UTF-8");
    },
  );

  test("a NUL in the query string is refused", async () => {
    const { status, problem } = await server.call("/shelves/7/echo?text=a%00b");
    expect([status, problem.code]).toEqual([400, "invalid_input"]);
  });

  test("a GET with a body is refused, since nobody would read it", async () => {
    const connection = await rawConnection(server.running.port);
    connection.send(
      `GET /notes HTTP/1.1\r\nhost: x\r\nx-api-key: ${server.keys.acme}\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}`,
    );
    const answer = await connection.ended;
    expect(answer).toMatch(/^HTTP\/1\.1 400 /);
    expect(answer).toContain("belongs into the query string");
  });

  test("a command that is a DELETE reads its query string", async () => {
    const { json } = await server.call("/shelves/3?dry=true", { method: "DELETE" });
    expect(json).toEqual({ shelf: 3, dry: true });
  });
});

describe("input from a JSON body", () => {
  test("fields of the path and the body become one input", async () => {
    const { json } = await server.call("/notes", { json: { text: "first" } });
    const changed = await server.call(`/notes/${json.noteId}`, { method: "PATCH", json: { text: "second" } });
    expect([changed.status, changed.text]).toEqual([204, ""]);
    const { json: note } = await server.call(`/notes/${json.noteId}`);
    expect(note).toEqual({ noteId: json.noteId, text: "second", locked: false });
  });

  test("an operation whose fields are all in the path needs no body, and takes an empty one", async () => {
    for (const init of [{ method: "POST" }, { json: {} }, { body: "" }]) {
      const { json } = await server.call("/notes", { json: { text: "to lock" } });
      expect((await server.call(`/notes/${json.noteId}/lock`, { method: "POST", ...init })).status).toBe(204);
    }
  });

  test.each([
    ["a field that the contract does not know", { text: "x", txt: "y" }, "txt", "is not a known field"],
    ["a field named like a prototype", JSON.parse('{"text":"x","__proto__":{"admin":true}}'), "__proto__", "known"],
  ])("%s is refused", async (_name, json, field, message) => {
    const { status, problem } = await server.call("/notes", { json });
    expect(status).toBe(400);
    expect(problem.errors).toEqual([{ path: field, message: expect.stringContaining(message) }]);
  });

  test("many unknown fields, or a long one, do not make the answer longer than the request", async () => {
    const many = Object.fromEntries(Array.from({ length: 900 }, (_, at) => [`f${at}`, 1]));
    const { problem } = await server.call("/notes", { json: { text: "x", ...many } });
    expect(problem.errors).toHaveLength(50);
    const long = await server.call("/notes", { json: { text: "x", ["y".repeat(9_000)]: 1 } });
    expect(long.problem.errors).toEqual([{ path: `${"y".repeat(200)}…`, message: "is not a known field" }]);
  });

  test("a body of nothing but fields and empty lists is refused before it is taken apart", async () => {
    const { status, problem } = await server.call("/notes", {
      json: { text: "x", meta: Array.from({ length: 1500 }, () => ({})) },
    });
    expect([status, problem.errors]).toEqual([
      400,
      [{ path: "", message: "holds more than 1000 fields, objects and lists" }],
    ]);
    const text = "{[:".repeat(500);
    expect((await server.call("/notes", { json: { text, meta: Array(900).fill([]) } })).status).toBe(200);
  });

  test("a field that is in the path and in the body is refused, even with the same value", async () => {
    const { status, problem } = await server.call("/notes/note_1", {
      method: "PATCH",
      json: { noteId: "note_1", text: "x" },
    });
    expect(status).toBe(400);
    expect(problem.errors).toEqual([{ path: "noteId", message: "is given in the path already" }]);
  });

  test("a field that is in the query string instead of the body is refused", async () => {
    const { status, problem } = await server.call("/notes?text=x", { json: { text: "y" } });
    expect(status).toBe(400);
    expect(problem.errors).toEqual([{ path: "text", message: "belongs into the body" }]);
  });

  test("a wrong type says which field", async () => {
    const { status, problem } = await server.call("/notes", { json: { text: 5 } });
    expect(status).toBe(400);
    expect(problem).toMatchObject({
      type: "urn:armature:error:invalid_input",
      title: "Invalid input",
      code: "invalid_input",
      kind: "invalid",
      errors: [{ path: "text", message: "must be text, not a number" }],
    });
  });

  test("__proto__ keys, also several of them, change nothing", async () => {
    const body =
      '{"text":"x","meta":{"__proto__":{"polluted":1},"__proto__":{"polluted":2},"constructor":{"prototype":{"polluted":3}}}}';
    const { status } = await server.call("/notes", { body });
    expect(status).toBe(200);
    expect(({} as Record<string, unknown>)["polluted"]).toBeUndefined();
  });

  test.each([
    ["broken JSON", '{"text": ', "is not JSON"],
    ["JSON with something behind it", '{"text":"x"} trailing', "is not JSON"],
    ["an array", '[{"text":"x"}]', "must be a JSON object"],
    ["null", "null", "must be a JSON object"],
    ["a text", '"text"', "must be a JSON object"],
    ["nesting without end", `{"text":"x","meta":${"[".repeat(4000)}`, "nests deeper than 100 levels"],
    ["deep nesting", `{"text":"x","meta":${"[".repeat(100)}${"]".repeat(100)}}`, "nests deeper than 100 levels"],
    ["bytes that are not UTF-8", Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]), "is not UTF-8"],
    ["UTF-16", Buffer.from('{"text":"x"}', "utf16le"), "is not JSON"],
  ])("%s is refused", async (_name, body, message) => {
    const { status, problem } = await server.call("/notes", { body });
    expect([status, problem.code]).toEqual([400, "invalid_input"]);
    expect(problem.errors).toEqual([{ path: "", message }]);
  });

  test("nesting that is deep and still sensible is taken, also when brackets stand in a text", async () => {
    const meta = `${"[".repeat(98)}"${"[{".repeat(200)}\\"${"[".repeat(200)}"${"]".repeat(98)}`;
    expect((await server.call("/notes", { body: `{"text":"x","meta":${meta}}` })).status).toBe(200);
  });

  test.each([
    ["a NUL", '{"text":"a\\u0000b"}'],
    ["a lone surrogate", '{"text":"a\\ud800b"}'],
    ["a NUL in a key", '{"text":"x","meta":{"a\\u0000":1}}'],
    ["a lone surrogate in a key", '{"text":"x","meta":{"\\udfff":1}}'],
  ])("text with %s is refused", async (_name, body) => {
    const { status, problem } = await server.call("/notes", { body });
    expect([status, problem.code]).toEqual([400, "invalid_input"]);
    expect(problem.detail).toContain("NUL character or a lone surrogate");
  });

  test("what was wrong with a body is told without quoting it", async () => {
    const { text } = await server.call("/notes", { body: '{"text": canary-7f3}' });
    expect(text).not.toContain("canary");
    expect(server.logger.text()).not.toContain("canary-7f3}");
  });

  test.each([
    ["text/plain", {}],
    ["application/x-www-form-urlencoded", {}],
    ["multipart/form-data; boundary=x", {}],
    ["application/json; charset=utf-16", {}],
    ["application/jsonp", {}],
    ["application/json", { "content-encoding": "gzip" }],
  ])("a body of %s is a media type that is not supported", async (contentType, headers) => {
    const { status, problem } = await server.call("/notes", {
      body: '{"text":"x"}',
      headers: { "content-type": contentType, ...headers },
    });
    expect([status, problem.code, problem.kind]).toEqual([415, "http.media_type_unsupported", "invalid"]);
  });

  test("a body without a content type is a media type that is not supported", async () => {
    const connection = await rawConnection(server.running.port);
    connection.send(
      `POST /notes HTTP/1.1\r\nhost: x\r\nx-api-key: ${server.keys.acme}\r\ncontent-length: 12\r\nconnection: close\r\n\r\n{"text":"x"}`,
    );
    expect(await connection.ended).toMatch(/^HTTP\/1\.1 415 /);
  });

  test.each(["application/json; charset=UTF-8", 'Application/JSON;charset="utf-8"', "application/merge-patch+json"])(
    "a body of %s is taken",
    async (contentType) => {
      const { status } = await server.call("/notes", {
        body: '{"text":"x"}',
        headers: { "content-type": contentType },
      });
      expect(status).toBe(200);
    },
  );

  test("a byte order mark before the JSON is no harm", async () => {
    expect((await server.call("/notes", { body: '\ufeff{"text":"x"}' })).status).toBe(200);
  });
});

describe("addresses and methods", () => {
  test.each(["/nothing", "/", "//", "/notes/", "/notes/note_1/", "/notes//lock", "/Notes", "/%6eotes", "/hidden"])(
    "an address that no operation has is not found: %s",
    async (path) => {
      const { status, problem, headers } = await server.call(path);
      expect([status, problem.code, problem.kind]).toEqual([404, "http.route_unknown", "not-found"]);
      expect(headers.get("content-type")).toBe("application/problem+json; charset=utf-8");
    },
  );

  test("a method that the address does not have is told which it has", async () => {
    const { status, problem, headers } = await server.call("/notes/note_1", { method: "DELETE" });
    expect([status, problem.code]).toEqual([405, "http.method_not_allowed"]);
    expect(headers.get("allow")?.split(", ").toSorted()).toEqual(["GET", "HEAD", "OPTIONS", "PATCH"]);
  });

  test("OPTIONS says which methods there are, without asking who calls", async () => {
    const { status, headers, text } = await server.call("/notes", { method: "OPTIONS", key: null });
    expect([status, text]).toEqual([204, ""]);
    expect(headers.get("allow")?.split(", ").toSorted()).toEqual(["GET", "HEAD", "OPTIONS", "POST"]);
  });

  test("HEAD answers as GET does, without the body", async () => {
    const got = await server.call("/notes?limit=1");
    const head = await server.call("/notes?limit=1", { method: "HEAD" });
    expect([head.status, head.text]).toEqual([200, ""]);
    expect(head.headers.get("content-length")).toBe(got.headers.get("content-length"));
    expect((await server.call("/notes", { method: "HEAD", key: null })).status).toBe(401);
  });

  test("an absolute address, as a client of a proxy sends it, is understood", async () => {
    const connection = await rawConnection(server.running.port);
    connection.send(
      `GET http://example.com/notes?limit=1 HTTP/1.1\r\nhost: example.com\r\nx-api-key: ${server.keys.acme}\r\nconnection: close\r\n\r\n`,
    );
    expect(await connection.ended).toMatch(/^HTTP\/1\.1 200 /);
  });

  test.each(["OPTIONS * HTTP/1.1", "GET /%%%/../..\\..;x=%00?%%% HTTP/1.1", "GET //evil.example/%2e%2e HTTP/1.1"])(
    "a strange address is answered with a problem, never with a page: %s",
    async (line) => {
      const connection = await rawConnection(server.running.port);
      connection.send(`${line}\r\nhost: x\r\nconnection: close\r\n\r\n`);
      const answer = await connection.ended;
      expect(answer).toMatch(/^HTTP\/1\.1 40[04] /);
      expect(answer).toContain("application/problem+json");
      expect(answer).not.toMatch(/<html|node_modules|\.js:/i);
    },
  );

  test.each([
    ["GET / HTTP/9.9\r\n\r\n", /^HTTP\/1\.1 400 .*"http\.malformed"/s],
    ["complete nonsense\r\n\r\n", /^HTTP\/1\.1 400 .*"http\.malformed"/s],
    ["POST /notes HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n", /^HTTP\/1\.1 400 /],
    [`GET / HTTP/1.1\r\nhost: x\r\nx-long: ${"a".repeat(20_000)}\r\n\r\n`, /^HTTP\/1\.1 431 .*headers_too_large/s],
  ])("what is no request is refused with a problem", async (text, expected) => {
    const connection = await rawConnection(server.running.port);
    connection.send(text);
    const answer = await connection.ended;
    expect(answer).toMatch(expected);
    expect(answer).toContain("application/problem+json");
  });
});

describe("another tenant's ids", () => {
  test("are not found, and change nothing", async () => {
    const { json } = await server.call("/notes", { json: { text: "of acme" } });
    const asGlobex = (path: string, init = {}) => callAs(server.origin, server.keys.globex, path, init);
    for (const [path, init] of [
      [`/notes/${json.noteId}`, {}],
      [`/notes/${json.noteId}`, { method: "PATCH", json: { text: "of globex" } }],
      [`/notes/${json.noteId}/lock`, { method: "POST" }],
    ] as const) {
      const { status, problem } = await asGlobex(path, init);
      expect([status, problem.code, problem.detail]).toEqual([404, "not_found", `There is no note "${json.noteId}".`]);
    }
    expect((await asGlobex("/notes")).json).toEqual({ items: [] });
    expect((await server.call(`/notes/${json.noteId}`)).json).toMatchObject({ text: "of acme", locked: false });
  });
});
