import { createHash } from "node:crypto";
import { type Json, type JsonObject, type Tool, type ToolRisk, visibleJson, visibleText } from "@armature/core";
import { mcp, type PinnedTool } from "./contract.ts";
import type { McpServer } from "./mcp-server.ts";

/**
 * The pinned tools of an MCP server, for `defineAgent` and for what else takes tools. What a model reads of them is
 * what was pinned, without what a person cannot see.
 *
 * @param names which of them; all when absent
 * @throws {TypeError} one is not pinned, or its schema holds what a person cannot see outside of its descriptions
 */
export function mcpTools(server: McpServer, names: readonly string[] = [...server.pinned.keys()]): readonly Tool[] {
  const taken = new Set<string>();
  return names.map((name) => {
    const pinned = server.pinned.get(name);
    if (pinned === undefined)
      throw new TypeError(`The tool "${name}" of the MCP server "${server.name}" is not pinned.`);
    const options = server.options[name] ?? {};
    const shown = options.name ?? freeName(`${server.name}_${name}`, taken);
    taken.add(shown);
    return Object.freeze({
      name: shown,
      description: options.description ?? visibleText(pinned.description ?? pinned.title ?? name),
      inputSchema: visibleSchema(server, pinned),
      risk: options.risk ?? riskOf(pinned),
      permission: mcp.operations.invoke.permission,
      contract: mcp,
      operation: "invoke",
      toInput: (args) => ({ server: server.name, tool: name, arguments: args }),
      toResult: (output) => (output as { readonly result: unknown }).result,
    } satisfies Tool);
  });
}

/** By what the server says. What it does not say is taken for the worst: so does the protocol. */
function riskOf({ annotations = {} }: PinnedTool): ToolRisk {
  if (annotations["readOnlyHint"] === true) return "read";
  return annotations["destructiveHint"] === false ? "write" : "irreversible";
}

const LONGEST = 64;

/** A name that a model can call: what cannot stand in it is `_`, and what is too long or taken ends with a hash. */
function freeName(name: string, taken: ReadonlySet<string>): string {
  const plain = name.replaceAll(/[^A-Za-z0-9_-]/g, "_");
  if (plain.length <= LONGEST && !taken.has(plain)) return plain;
  const hash = createHash("sha256").update(name).digest("hex").slice(0, 8);
  return `${plain.slice(0, LONGEST - hash.length - 1)}_${hash}`;
}

function visibleSchema({ name: server }: McpServer, { name, inputSchema }: PinnedTool): JsonObject {
  const schema = withVisibleTexts(inputSchema as JsonObject) as JsonObject;
  if (JSON.stringify(visibleJson(schema)) !== JSON.stringify(schema))
    throw new TypeError(
      `The input of the tool "${name}" of the MCP server "${server}" holds characters that a person cannot see.`,
    );
  if (schema["type"] !== "object")
    throw new TypeError(`The input of the tool "${name}" of the MCP server "${server}" must be an object.`);
  return schema;
}

// A field may be called "description" too: then it stands for a schema, and is no text.
function withVisibleTexts(value: Json): Json {
  if (value === null || typeof value !== "object") return value;
  if (Array.isArray(value)) return value.map(withVisibleTexts);
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => [
      key,
      typeof inner === "string" && (key === "description" || key === "title" || key === "$comment")
        ? visibleText(inner)
        : withVisibleTexts(inner),
    ]),
  );
}
