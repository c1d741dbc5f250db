import { describe, expect, test } from "vitest";
import { RouteTable } from "./routes.ts";

function table(...routes: string[]): RouteTable<string> {
  const made = new RouteTable<string>();
  for (const route of routes) {
    const [method, template] = route.split(" ") as [string, string];
    made.add(method, template, route);
  }
  return made;
}

describe("routes", () => {
  test("a literal part is preferred over a parameter", () => {
    const routes = table("POST /connectors/authorize", "POST /connectors/{connectorId}");
    expect(routes.match("POST", "/connectors/authorize")).toMatchObject({ endpoint: "POST /connectors/authorize" });
    expect(routes.match("POST", "/connectors/con_1")).toMatchObject({
      endpoint: "POST /connectors/{connectorId}",
      parameters: [["connectorId", "con_1"]],
    });
  });

  test("a literal part that leads nowhere may still be a parameter's value", () => {
    const routes = table("POST /connectors/authorize", "POST /connectors/{id}/check", "GET /connectors/{id}");
    expect(routes.match("POST", "/connectors/authorize/check")).toMatchObject({ parameters: [["id", "authorize"]] });
    expect(routes.match("GET", "/connectors/authorize")).toMatchObject({ parameters: [["id", "authorize"]] });
  });

  test("every method of every route that fits a path is allowed on it", () => {
    const routes = table("POST /a/b", "GET /a/{x}", "PUT /a/{x}");
    expect(routes.match("DELETE", "/a/b")).toEqual({ type: "method", allow: ["POST", "GET", "PUT"] });
  });

  test("values are decoded after the path is taken apart", () => {
    const routes = table("GET /a/{x}/{y}");
    expect(routes.match("GET", "/a/1%2F2/%7Bx%7D")).toMatchObject({
      parameters: [
        ["x", "1/2"],
        ["y", "{x}"],
      ],
    });
    expect(() => routes.match("GET", "/a/%/b")).toThrow(URIError);
  });

  test.each(["", "/", "/a", "/a/", "/a//b", "/a/b/", "a/x/y", "*"])("%j leads nowhere", (path) => {
    expect(table("GET /a/{x}/{y}").match("GET", path)).toEqual({ type: "none" });
  });

  test("two routes that are the same are a mistake", () => {
    expect(() => table("GET /a/{x}", "GET /a/{x}")).toThrow("Two routes are GET /a/{x}.");
  });

  test("two names for one part are a mistake, since a description can show only one", () => {
    expect(() => table("GET /a/{x}", "PUT /a/{y}")).toThrow("name the same parts differently");
  });
});
