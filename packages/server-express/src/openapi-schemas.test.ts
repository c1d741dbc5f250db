import { describe, expect, test } from "vitest";
import { z } from "zod";
import { SchemaComponents } from "./openapi-schemas.ts";

const ref = (name: string) => ({ $ref: `#/components/schemas/${name}` });

describe("schemas in an OpenAPI document", () => {
  test("stand where they are used when they refer to nothing", () => {
    const components = new SchemaComponents();
    expect(components.inline(z.object({ a: z.string() }), "input", "x")).toEqual({
      type: "object",
      properties: { a: { type: "string" } },
      required: ["a"],
    });
    expect(components.all).toEqual({});
  });

  test("that contain themselves become components", () => {
    interface Tree {
      children: Tree[];
    }
    const tree: z.ZodType<Tree> = z.object({ children: z.array(z.lazy(() => tree)) });
    const components = new SchemaComponents();
    const inlined = components.inline(tree, "input", "x");
    expect(inlined).toEqual(ref("x.root"));
    expect(components.resolve(inlined)).toBe(components.all["x.root"]);
    expect(components.all["x.root"]).toMatchObject({
      properties: { children: { type: "array", items: ref("x.root") } },
    });
  });

  test("that are the same definitions are one component", () => {
    const components = new SchemaComponents();
    for (const owner of ["x", "y"]) components.inline(z.object({ any: z.json() }), "input", owner);
    expect(Object.keys(components.all)).toEqual(["x.schema0"]);
  });

  test("whose definitions look alike and refer to different ones are not mixed up", () => {
    const holder = (inner: z.ZodType) => {
      const part = inner.meta({ id: "part" });
      const list = z.array(part).meta({ id: "list" });
      const schema = z.object({ list });
      z.globalRegistry.remove(part).remove(list);
      return { schema, part, list };
    };
    const components = new SchemaComponents();
    const resolved = [z.string(), z.number()].map((inner, index) => {
      const { schema, part, list } = holder(inner);
      z.globalRegistry.add(part, { id: "part" }).add(list, { id: "list" });
      const inlined = components.inline(schema, "input", `owner${index}`);
      z.globalRegistry.remove(part).remove(list);
      const follow = (node: unknown) =>
        components.all[(node as { $ref: string }).$ref.slice("#/components/schemas/".length)]!;
      const { list: listRef } = (inlined as { properties: { list: unknown } }).properties;
      return (follow((follow(listRef) as { items: unknown }).items) as { type: string }).type;
    });
    expect(resolved).toEqual(["string", "number"]);
  });
});
