import { type AnyOperation, jsonSchema } from "@armature/core";

/** Whether an operation gives its answer a page at a time: `items` and `next`, and takes `after`. */
export function isPaged({ input, output, kind }: AnyOperation): boolean {
  if (output === undefined || kind === "stream") return false;
  const properties = (schema: typeof input, io: "input" | "output") => jsonSchema(schema, io)["properties"] ?? {};
  const given = properties(output, "output");
  return (
    "items" in (given as object) && "next" in (given as object) && "after" in (properties(input, "input") as object)
  );
}

/**
 * `Link` to the next page (RFC 8288). The reference is a query string alone, which a client puts behind the path as it
 * knows it: behind whatever the API is mounted at or proxied by.
 */
export function pageLink(query: string, output: unknown): Readonly<Record<string, string>> {
  const { next } = output as { readonly next?: string };
  if (next === undefined) return {};
  const parameters = new URLSearchParams(query);
  parameters.set("after", next);
  return { link: `<?${parameters.toString()}>; rel="next"` };
}
