import { type JsonObject, jsonSchema, type Schema } from "@armature/core";

type Mutable = Record<string, unknown>;

/**
 * Collects schemas under `components.schemas`. zod's references point inside of each schema, `#/$defs/…`; in an OpenAPI
 * document they have to point at a component.
 */
export class SchemaComponents {
  readonly #schemas = new Map<string, JsonObject>();
  readonly #names = new Set<string>();
  /** Names of definitions that are there already, by all that they may refer to: any JSON is in many schemas. */
  readonly #known = new Map<string, string>();

  get all(): Readonly<Record<string, JsonObject>> {
    return Object.fromEntries(this.#schemas);
  }

  /** A schema as it may stand in the document. Its definitions become components whose names start with `owner`. */
  inline(schema: Schema, io: "input" | "output", owner: string): JsonObject {
    const { $schema: _, $defs = {}, ...root } = jsonSchema(schema, io) as Mutable & { $defs?: Mutable };
    const definitions = JSON.stringify($defs);
    // A schema that contains itself has to be a component to be pointed at.
    const recursive = `${JSON.stringify(root)}${definitions}`.includes('"$ref":"#"');
    const names = new Map<string, string>();
    const added: [name: string, definition: unknown][] = recursive ? [[this.#freeName(owner, "root"), root]] : [];
    if (recursive) names.set("#", added[0]![0]);
    for (const [id, definition] of Object.entries($defs)) {
      const text = JSON.stringify([id, definitions, recursive ? root : null]);
      const known = this.#known.get(text);
      const name = known ?? this.#freeName(owner, id);
      names.set(`#/$defs/${id.replaceAll("~", "~0").replaceAll("/", "~1")}`, name);
      if (known === undefined) added.push([name, definition]);
      this.#known.set(text, name);
    }
    for (const [name, definition] of added) this.add(name, repointed(definition, names) as JsonObject);
    return recursive ? { $ref: `#/components/schemas/${added[0]![0]}` } : (repointed(root, names) as JsonObject);
  }

  /** Adds a component and gives the reference to it. */
  add(name: string, schema: JsonObject): JsonObject {
    this.#names.add(name);
    this.#schemas.set(name, schema);
    return { $ref: `#/components/schemas/${name}` };
  }

  /** The schema itself, where it is a reference to a component. */
  resolve(schema: JsonObject): JsonObject {
    const { $ref } = schema;
    return typeof $ref === "string" ? this.#schemas.get($ref.slice("#/components/schemas/".length))! : schema;
  }

  #freeName(owner: string, id: string): string {
    const wanted = `${owner}.${id.replaceAll(/[^A-Za-z0-9._-]/g, "_").replace(/^_+/, "")}`;
    let name = wanted;
    for (let count = 2; this.#names.has(name); count += 1) name = `${wanted}_${count}`;
    this.#names.add(name);
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
