import type { ErrorKind } from "@armature/core";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { failures } from "./test-context.ts";
import { callAs, deferred, logged, startTestServer, type TestServer } from "./test-server.ts";

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer({ maxTimeoutMs: 10_000 });
});
afterAll(() => server.close());
beforeEach(() => {
  server.outside.print = async (copies) => copies;
});

const print = (init: Parameters<TestServer["call"]>[1] = {}) => server.call("/prints", { json: {}, ...init });

describe("who calls", () => {
  test("an API key is taken as a bearer token or in its own header", async () => {
    for (const headers of [{ authorization: `Bearer ${server.keys.acme}` }, { "x-api-key": server.keys.acme }]) {
      const { json } = await server.call("/me", { key: null, headers });
      expect(json).toMatchObject({ tenant: "acme", actor: { type: "user", id: "ann" } });
    }
  });

  test.each([
    ["no key", {}],
    ["a key that nobody has", { authorization: `Bearer arm_acme_01abc_${"0".repeat(64)}` }],
    ["a key of a tenant that does not exist", { authorization: `Bearer arm_nobody_01abc_${"0".repeat(64)}` }],
    ["something that is no key", { authorization: "Bearer let-me-in" }],
    ["an empty key", { "x-api-key": "" }],
    ["a password", { authorization: "Basic YW5uOnB3" }],
    ["a key in the query string only", {}],
  ])("%s is answered with 401 and how to authenticate", async (name, headers) => {
    const path = name.includes("query") ? `/notes?api_key=${server.keys.acme}` : "/notes";
    const { status, problem, headers: answered } = await server.call(path, { key: null, headers });
    expect([status, problem.code, problem.kind]).toEqual([401, "unauthenticated", "unauthenticated"]);
    expect(answered.get("www-authenticate")).toBe('Bearer realm="armature"');
  });

  test("a proxy's own Authorization does not hide the key", async () => {
    const headers = { authorization: "Basic cHJveHk6cHc=", "x-api-key": server.keys.acme };
    expect((await server.call("/me", { key: null, headers })).status).toBe(200);
  });

  test("two keys at once are refused, since nobody can tell which is meant", async () => {
    const { status, problem } = await server.call("/me", { headers: { "x-api-key": server.keys.globex } });
    expect([status, problem.errors?.[0]?.path]).toEqual([400, "x-api-key"]);
  });

  test("a key without the permission is answered with 403 and the permission's name", async () => {
    const { status, problem } = await server.call("/notes", { key: server.keys.reader, json: { text: "x" } });
    expect([status, problem.code, problem.details]).toEqual([403, "forbidden", { permission: "desk:write" }]);
    expect((await server.call("/notes", { key: server.keys.reader })).status).toBe(200);
  });

  test("who may not call cannot even have the body read", async () => {
    const { status } = await server.call("/notes", { key: null, body: "not json" });
    expect(status).toBe(401);
  });

  test("a revoked key is a key that nobody has", async () => {
    const { identity } = server.app.as({ tenant: "acme", user: "ann" });
    const { key, keyId } = await identity.createApiKey({ name: "short-lived" });
    expect((await callAs(server.origin, key, "/me")).status).toBe(200);
    await identity.revokeApiKey({ keyId });
    expect((await callAs(server.origin, key, "/me")).status).toBe(401);
  });
});

describe("request ids", () => {
  test("a client's own id is returned, told in problems, and is the correlation id of what happened", async () => {
    const headers = { "x-request-id": "req/Client-1:42" };
    const answer = await server.call("/notes", { json: { text: "x" }, headers });
    expect(answer.headers.get("x-request-id")).toBe("req/Client-1:42");
    const refused = await server.call("/notes/note_none", { headers });
    expect(refused.problem.requestId).toBe("req/Client-1:42");
    const acme = server.app.as({ tenant: "acme", user: "ann" });
    const { items } = await acme.audit.events({ types: ["desk.note_written"], limit: 1 });
    expect(items[0]?.correlationId).toBe("req/Client-1:42");
    expect((await acme.audit.list({ limit: 1 })).items[0]?.correlationId).toBe("req/Client-1:42");
  });

  test.each(["", "has blanks", "x".repeat(129), "ä"])(
    "an id that cannot stand in a log is replaced: %j",
    async (id) => {
      const { headers } = await server.call("/notes", { headers: { "x-request-id": id } });
      expect(headers.get("x-request-id")).toMatch(/^req_[0-9a-f]{32}$/);
    },
  );

  test("a problem names the trace that the audit row has, whether the client had one or not", async () => {
    const { problem } = await server.call("/notes", { json: { text: "" } });
    const { items } = await server.app.as({ tenant: "acme", user: "ann" }).audit.list({ limit: 1 });
    expect(problem.traceId).toBe(items[0]?.traceId);
    const traceId = "4bf92f3577b34da6a3ce929d0e0e4736";
    const headers = { traceparent: `00-${traceId}-00f067aa0ba902b7-01` };
    expect((await server.call("/nothing", { headers })).problem.traceId).toBe(traceId);
  });

  test("the client's trace goes on in the audit row", async () => {
    const traceId = "4bf92f3577b34da6a3ce929d0e0e4736";
    await server.call("/notes", {
      json: { text: "x" },
      headers: { traceparent: `00-${traceId}-00f067aa0ba902b7-01` },
    });
    const { items } = await server.app.as({ tenant: "acme", user: "ann" }).audit.list({ limit: 1 });
    expect(items[0]?.traceId).toBe(traceId);
  });
});

describe("idempotency keys", () => {
  test("the same key and input give the same answer, and the effect once", async () => {
    const init = { json: { text: "once" }, headers: { "idempotency-key": "write-once" } };
    const first = await server.call("/notes", init);
    const second = await server.call("/notes", init);
    expect(second.json).toEqual(first.json);
    const { json } = await server.call("/notes?limit=200");
    expect(json.items.filter((note: { text: string }) => note.text === "once")).toHaveLength(1);
  });

  test("the quoted form of the IETF draft and the bare form are one key", async () => {
    const json = { text: "quoted" };
    const first = await server.call("/notes", { json, headers: { "idempotency-key": '"a\\"b\\\\c"' } });
    const second = await server.call("/notes", { json, headers: { "idempotency-key": 'a"b\\c' } });
    expect(first.status).toBe(200);
    expect(second.json).toEqual(first.json);
  });

  test.each(['"unclosed', '"', '"a" "b"', "with blanks", '""', "", "x".repeat(256)])(
    "a key that is none is refused: %j",
    async (key) => {
      const { status, problem } = await server.call("/notes", {
        json: { text: "x" },
        headers: { "idempotency-key": key },
      });
      expect([status, problem.code]).toEqual([400, "invalid_input"]);
    },
  );

  test("the server can be told to take no change without one", async () => {
    const strict = await startTestServer({ requireIdempotencyKey: true });
    const { status, problem } = await strict.call("/notes", { json: { text: "x" } });
    expect([status, problem.code]).toEqual([400, "http.idempotency_key_required"]);
    const headers = { "idempotency-key": '"k-1";note=1' };
    expect((await strict.call("/notes", { json: { text: "x" }, headers })).status).toBe(200);
    // Whose repetition is harmless by HTTP's own promise.
    expect((await strict.call("/shelves/1", { method: "DELETE" })).status).toBe(200);
    expect((await strict.call("/notes")).status).toBe(200);
    const { paths, components } = (await strict.call("/openapi.json")).json;
    const needed = { $ref: "#/components/parameters/NeededIdempotencyKey" };
    expect(paths["/notes"].post.parameters).toContainEqual(needed);
    expect(paths["/shelves/{shelf}"].delete.parameters).not.toContainEqual(needed);
    expect(components.parameters.NeededIdempotencyKey.required).toBe(true);
    await strict.close();
  });

  test("the same key with another input is refused", async () => {
    const headers = { "idempotency-key": "write-other" };
    await server.call("/notes", { json: { text: "one" }, headers });
    const { status, problem } = await server.call("/notes", { json: { text: "two" }, headers });
    expect([status, problem.code]).toEqual([422, "idempotency.key_reused"]);
  });

  test("a second call while the first is under way is told to ask again later", async () => {
    const begun = deferred();
    const finish = deferred();
    server.outside.print = async (copies) => {
      begun.resolve();
      await finish.promise;
      return copies;
    };
    const init = { json: { copies: 2 }, headers: { "idempotency-key": "print-1", "armature-timeout": "5000" } };
    const first = print(init);
    await begun.promise;
    const second = await print(init);
    expect([second.status, second.problem.code]).toEqual([409, "idempotency.in_progress"]);
    expect(Number(second.headers.get("retry-after"))).toBeGreaterThanOrEqual(1);
    expect(Number(second.headers.get("retry-after"))).toBeLessThanOrEqual(5);
    finish.resolve();
    expect((await first).json).toEqual({ printed: 2 });
    expect((await print(init)).json).toEqual({ printed: 2 });
  });

  test("another caller's key of the same name is another key", async () => {
    const init = { json: { text: "mine" }, headers: { "idempotency-key": "shared-name" } };
    const acme = await server.call("/notes", init);
    const globex = await callAs(server.origin, server.keys.globex, "/notes", init);
    expect(globex.status).toBe(200);
    expect(globex.json.noteId).not.toBe(acme.json.noteId);
  });

  test.each(["", '"', '"unterminated', '"a"b"', '"has blanks"', "has blanks", "ä", "x".repeat(256)])(
    "a key that is none is refused: %j",
    async (key) => {
      const { status, problem } = await server.call("/notes", {
        json: { text: "x" },
        headers: { "idempotency-key": key },
      });
      expect([status, problem.code]).toEqual([400, "invalid_input"]);
    },
  );
});

describe("time", () => {
  test("a call is given up after the time that the client is willing to wait", async () => {
    server.outside.print = (_copies, signal) =>
      new Promise((_resolve, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
    const { status, problem } = await print({ headers: { "armature-timeout": "30" } });
    expect([status, problem.code, problem.kind]).toEqual([504, "deadline_exceeded", "timeout"]);
  });

  test("no client can ask for more than the server's longest time", async () => {
    const limited = await startTestServer({ maxTimeoutMs: 30 });
    limited.outside.print = (_copies, signal) =>
      new Promise((_resolve, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
    const asked = await limited.call("/prints", { json: {}, headers: { "armature-timeout": "999999999" } });
    const silent = await limited.call("/prints", { json: {} });
    expect([asked.status, silent.status]).toEqual([504, 504]);
    await limited.close();
  });

  test.each(["0", "-1", "1.5", "soon", "1e3", "9999999999"])("a time that is none is refused: %s", async (time) => {
    const { status, problem } = await print({ headers: { "armature-timeout": time } });
    expect([status, problem.errors?.[0]?.path]).toEqual([400, "armature-timeout"]);
  });
});

describe("errors", () => {
  const statuses: Readonly<Record<ErrorKind, number>> = {
    invalid: 400,
    unauthenticated: 401,
    forbidden: 403,
    "not-found": 404,
    conflict: 409,
    precondition: 409,
    exhausted: 429,
    unavailable: 503,
    timeout: 504,
    "unknown-outcome": 409,
    internal: 500,
  };

  test.each(Object.keys(failures) as ErrorKind[])(
    "a declared error of kind %s has its status and code",
    async (kind) => {
      const { status, problem, headers } = await server.call(`/failures/${kind}`, { json: { retryAfterMs: 1500 } });
      expect(status).toBe(statuses[kind]);
      const code = `desk.${kind.replaceAll("-", "_")}`;
      expect(problem).toEqual({
        type: `urn:armature:error:${code}`,
        title: `Desk ${kind.replaceAll("-", " ")}`,
        status: statuses[kind],
        detail: `It failed with ${kind}.`,
        code,
        kind,
        requestId: headers.get("x-request-id"),
        traceId: expect.stringMatching(/^[0-9a-f]{32}$/),
        details: { retryAfterMs: 1500 },
      });
      expect(headers.get("content-type")).toBe("application/problem+json; charset=utf-8");
      expect(headers.get("retry-after")).toBe("2");
      expect(headers.get("cache-control")).toBe("no-store");
    },
  );

  test("there is no Retry-After where nobody knows when", async () => {
    const { headers } = await server.call("/failures/unavailable", { method: "POST" });
    expect(headers.get("retry-after")).toBeNull();
  });

  test("what nobody foresaw is a bare 500 with a trace id, and the log has the rest", async () => {
    const traceId = "4bf92f3577b34da6a3ce929d0e0e4737";
    const { status, problem, text } = await server.call("/failures/unexpected", {
      method: "POST",
      headers: { traceparent: `00-${traceId}-00f067aa0ba902b7-01` },
    });
    expect(status).toBe(500);
    expect(problem).toEqual({
      type: "urn:armature:error:internal",
      title: "Internal",
      status: 500,
      detail: `Something went wrong on our side (trace ${traceId}).`,
      code: "internal",
      kind: "internal",
      requestId: expect.stringMatching(/^req_/),
      traceId,
    });
    expect(text).not.toContain("canary");
    const entry = await logged(
      server.logger,
      ({ level, fields }) => level === "error" && fields["traceId"] === traceId,
    );
    expect(String(entry.fields["error"])).toContain("canary-7f3");
  });

  test("an internal error that the operation does not declare is a bare 500 too", async () => {
    const { status, problem } = await server.call("/failures/undeclared", { method: "POST" });
    expect([status, problem.code]).toEqual([500, "internal"]);
    const entry = await logged(server.logger, ({ fields }) => fields["traceId"] === problem.traceId);
    expect(String(entry.fields["error"])).toContain("It failed with internal.");
  });

  test("a refusal in the domain's words arrives in the domain's words", async () => {
    const { json } = await server.call("/notes", { json: { text: "x" } });
    await server.call(`/notes/${json.noteId}/lock`, { method: "POST" });
    const { status, problem } = await server.call(`/notes/${json.noteId}/lock`, { method: "POST" });
    expect([status, problem.code, problem.details]).toEqual([409, "desk.note_is_locked", { noteId: json.noteId }]);
  });
});

describe("the log", () => {
  test("has one line for a request: who and what and how it went, and nothing that was sent", async () => {
    const requestId = "log-test-1";
    await server.call("/shelves/7/echo?text=canary-query", {
      headers: { "x-request-id": requestId, "x-custom": "canary-header" },
    });
    await server.call("/notes", {
      json: { text: "canary-body", wrong: "canary-field" },
      headers: { "x-request-id": "log-test-2" },
    });
    const lines = server.logger.entries.filter(({ fields }) => fields["requestId"] === requestId);
    expect(lines).toEqual([
      {
        level: "info",
        message: "request",
        fields: {
          method: "GET",
          status: 200,
          durationMs: expect.any(Number),
          requestId,
          traceId: expect.stringMatching(/^[0-9a-f]{32}$/),
          operation: "desk.echo",
          tenant: "acme",
        },
      },
    ]);
    const refused = server.logger.entries.find(({ fields }) => fields["requestId"] === "log-test-2");
    expect(refused?.fields).toMatchObject({ status: 400, operation: "desk.write", errorCode: "invalid_input" });
    expect(server.logger.text()).not.toMatch(/canary-(query|header|body|field)|arm_acme/);
  });
});
