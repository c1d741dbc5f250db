import { createConfig, lintFromString } from "@redocly/openapi-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openApiDocument } from "./openapi.ts";
import { startTestServer, type TestServer } from "./test-server.ts";

let server: TestServer;
// biome-ignore lint/suspicious/noExplicitAny: a test looks into it
let document: any;
beforeAll(async () => {
  server = await startTestServer();
  document = (await server.call("/openapi.json", { key: null })).json;
});
afterAll(() => server.close());

const operations = () =>
  Object.entries<Record<string, { operationId: string }>>(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method, operation })),
  );

async function problemsOf(source: unknown): Promise<readonly string[]> {
  const config = await createConfig({
    extends: ["spec"],
    rules: {
      struct: "error",
      "no-unresolved-refs": "error",
      "operation-operationId-unique": "error",
      "operation-operationId": "error",
      "operation-summary": "error",
      "operation-parameters-unique": "error",
      "path-parameters-defined": "error",
      "no-identical-paths": "error",
      "path-declaration-must-exist": "error",
      "no-path-trailing-slash": "error",
      "path-not-include-query": "error",
      "no-duplicated-tag-names": "error",
      "operation-tag-defined": "error",
      "security-defined": "error",
      "no-unused-components": "error",
      "no-schema-type-mismatch": "error",
    },
  });
  const found = await lintFromString({ source: JSON.stringify(source), config });
  return found.map(({ ruleId, message, location }) => `${ruleId}: ${message} ${location[0]?.pointer}`);
}

describe("the OpenAPI document", () => {
  test("is valid OpenAPI 3.1, with every reference leading somewhere and nothing unused", async () => {
    expect(document.openapi).toBe("3.1.0");
    expect(await problemsOf(document)).toEqual([]);
  });

  test("is really looked at: mistakes in it are found", async () => {
    const broken = structuredClone(document);
    broken.paths["/notes"].post.responses["200"].content["application/json"].schema = {
      $ref: "#/components/schemas/X",
    };
    broken.paths["/notes/{noteId}"].get.parameters.shift();
    broken.paths["/notes"].get.operationId = broken.paths["/notes"].post.operationId;
    broken.paths["/tenant"].get.responses["200"].content = "json";
    const found = (await problemsOf(broken)).map((problem) => problem.split(":")[0]);
    for (const rule of ["no-unresolved-refs", "path-parameters-defined", "operation-operationId-unique", "struct"])
      expect(found).toContain(rule);
  });

  test("has every operation that has a route, and no other", () => {
    const ids = operations().map(({ operation }) => operation.operationId);
    const routed = server.app.operations.filter(({ operation }) => operation.http !== undefined).map(({ id }) => id);
    expect(routed.length).toBeGreaterThan(40);
    const own = ["server.health", "server.ready", "server.openapi", "server.oauthCallback"];
    expect(ids.toSorted()).toEqual([...routed, ...own].toSorted());
    expect(ids).not.toContain("desk.hidden");
  });

  test("has only addresses that answer: none is unknown or does not take the method", async () => {
    for (const { path, method, operation } of operations()) {
      const answer = await server.call(path.replaceAll(/\{\w+\}/g, "1"), { key: null, method: method.toUpperCase() });
      const asked = { [operation.operationId]: [answer.status, answer.problem?.code] };
      if (operation.operationId.startsWith("server."))
        expect([200, 400], JSON.stringify(asked)).toContain(answer.status);
      else expect(asked).toEqual({ [operation.operationId]: [401, "unauthenticated"] });
    }
  });

  test("says where each part of an input stands", () => {
    const { parameters, requestBody } = document.paths["/shelves/{shelf}/echo"].get;
    const byName = Object.fromEntries(parameters.map((each: { name?: string }) => [each.name, each]));
    expect(byName.shelf).toMatchObject({
      in: "path",
      required: true,
      description: "The shelf's number.",
      schema: { type: "integer" },
    });
    expect(byName.tags).toMatchObject({
      in: "query",
      required: false,
      schema: { type: "array", items: { type: "string" } },
    });
    expect(requestBody).toBeUndefined();
    const rewrite = document.paths["/notes/{noteId}"].patch;
    expect(rewrite.requestBody).toMatchObject({ required: true });
    const { schema } = rewrite.requestBody.content["application/json"];
    expect(schema).toMatchObject({ type: "object", required: ["text"], additionalProperties: false });
    expect(Object.keys(schema.properties)).toEqual(["text"]);
    expect(document.paths["/notes/{noteId}/lock"].post.requestBody).toBeUndefined();
    expect(document.paths["/prints"].post.requestBody.required).toBe(false);
  });

  test("says what is answered: the output, nothing, or events", () => {
    const { 200: written } = document.paths["/notes"].post.responses;
    expect(written.content["application/json"].schema.properties.noteId.type).toBe("string");
    expect(Object.keys(document.paths["/notes/{noteId}/lock"].post.responses)).toContain("204");
    const { 200: fed } = document.paths["/feed"].get.responses;
    expect(fed.content["text/event-stream"].schema.contentSchema).toEqual({
      $ref: "#/components/schemas/desk.feed.item",
    });
    expect(document.components.schemas["desk.feed.item"].properties.number.type).toBe("integer");
  });

  test("says how each operation refuses, by status and code", () => {
    const { responses } = document.paths["/notes/{noteId}/lock"].post;
    expect(Object.keys(responses).toSorted()).toEqual(
      ["204", "400", "401", "403", "404", "409", "412", "422", "429", "500", "504", "default"].toSorted(),
    );
    expect(responses["409"].description).toContain("`desk.note_is_locked`");
    expect(responses["409"].description).toContain("`idempotency.in_progress`");
    const refs = responses["409"].content["application/problem+json"].schema.oneOf.map(
      ({ $ref }: { $ref: string }) => $ref,
    );
    expect(refs).toContain("#/components/schemas/error.desk.note_is_locked");
    const [, { properties }] = document.components.schemas["error.desk.note_is_locked"].allOf;
    expect(properties).toMatchObject({
      status: { const: 409 },
      code: { const: "desk.note_is_locked" },
      kind: { const: "precondition" },
      details: { properties: { noteId: { type: "string" } } },
    });
    expect(Object.keys(document.paths["/notes"].post.responses)).toEqual(expect.arrayContaining(["413", "415"]));
  });

  test("what is really answered fits what it says", async () => {
    const { problem } = await server.call("/notes/note_none");
    const described = document.components.schemas.Problem;
    expect(Object.keys(described.properties)).toEqual(expect.arrayContaining(Object.keys(problem)));
    for (const field of described.required) expect(problem).toHaveProperty(field);
  });

  test("offers idempotency keys where something changes, and only there", () => {
    const keyed = (path: string, method: string) =>
      document.paths[path][method].parameters.some(
        ({ $ref }: { $ref?: string }) => $ref === "#/components/parameters/IdempotencyKey",
      );
    expect([keyed("/notes", "post"), keyed("/prints", "post"), keyed("/shelves/{shelf}", "delete")]).toEqual([
      true,
      true,
      true,
    ]);
    expect([keyed("/notes", "get"), keyed("/feed", "get")]).toEqual([false, false]);
  });

  test("points inside of recursive schemas at components", () => {
    const text = JSON.stringify(document);
    expect(text).not.toContain("#/$defs/");
    expect(text).not.toContain('"$ref":"#"');
    expect(text).not.toContain('"$schema"');
  });

  test("says how a host authenticates that does so by itself, and promises no API keys then", () => {
    const sessions = { session: { type: "apiKey", in: "cookie", name: "sid" } };
    const made = openApiDocument(server.app.operations, "/api", { title: "Desk", securitySchemes: sessions });
    expect(made).toMatchObject({
      info: { title: "Desk" },
      servers: [{ url: "/api" }],
      security: [{ session: [] }],
      components: { securitySchemes: sessions },
    });
  });
});
