import { type JsonObject, jsonSchema, type Schema } from "@armature/core";

type Mutable = Record<string, unknown>;

/**
 * Collects schemas under `components.schemas`. zod's references point inside of each schema, `#/$defs/…`; in an OpenAPI
 * document they have to point at a component.
 */
export class SchemaComponents {
  readonly #schemas = new Map<string, JsonObject>();
  /** Names of definitions that are there already, by their text: any JSON is in many schemas. */
  readonly #names = new Map<string, string>();

  get all(): Readonly<Record<string, JsonObject>> {
    return Object.fromEntries(this.#schemas);
  }

  /** A schema as it may stand in the document. Its definitions become components whose names start with `owner`. */
  inline(schema: Schema, io: "input" | "output", owner: string): JsonObject {
    const { $schema: _, $defs = {}, ...root } = jsonSchema(schema, io) as Mutable & { $defs?: Mutable };
    const names = new Map<string, string>();
    for (const [id, definition] of Object.entries($defs)) {
      const text = JSON.stringify(definition);
      const name = this.#names.get(text) ?? this.#freeName(owner, id);
      names.set(`#/$defs/${id.replaceAll("~", "~0").replaceAll("/", "~1")}`, name);
      this.#names.set(text, name);
    }
    // A schema that contains itself has to be a component to be pointed at.
    const recursive = JSON.stringify(root).includes('"$ref":"#"') || JSON.stringify($defs).includes('"$ref":"#"');
    if (recursive) names.set("#", this.#freeName(owner, "root"));
    for (const definition of Object.values($defs)) {
      const name = this.#names.get(JSON.stringify(definition))!;
      this.#schemas.set(name, repointed(definition, names) as JsonObject);
    }
    if (!recursive) return repointed(root, names) as JsonObject;
    return this.add(names.get("#")!, repointed(root, names) as JsonObject);
  }

  /** Adds a component and gives the reference to it. */
  add(name: string, schema: JsonObject): JsonObject {
    this.#schemas.set(name, schema);
    return { $ref: `#/components/schemas/${name}` };
  }

  #freeName(owner: string, id: string): string {
    const wanted = `${owner}.${id.replaceAll(/[^A-Za-z0-9._-]/g, "_").replace(/^_+/, "")}`;
    let name = wanted;
    for (let count = 2; this.#schemas.has(name); count += 1) name = `${wanted}_${count}`;
    return name;
  }
}

function repointed(value: unknown, names: ReadonlyMap<string, string>): unknown {
  if (Array.isArray(value)) return value.map((item) => repointed(item, names));
  if (value === null || typeof value !== "object") return value;
  const entries = Object.entries(value).map(([key, inner]) => {
    const name = key === "$ref" && typeof inner === "string" ? names.get(inner) : undefined;
    return [key, name === undefined ? repointed(inner, names) : `#/components/schemas/${name}`];
  });
  return Object.fromEntries(entries);
}
