import type { JsonObject } from "@armature/core";
import type { AjvJsonSchemaValidator } from "@modelcontextprotocol/client/validators/ajv";

/** Checks values by JSON schemas that a host has pinned, each made ready once. */
export class JsonSchemas {
  /** Loads with the first value. */
  #engine: Promise<AjvJsonSchemaValidator> | undefined;
  readonly #ready = new WeakMap<JsonObject, ReturnType<AjvJsonSchemaValidator["getValidator"]>>();

  /** What does not fit, or undefined. */
  async misfit(schema: JsonObject, value: unknown): Promise<string | undefined> {
    this.#engine ??= engine();
    let ready = this.#ready.get(schema);
    if (ready === undefined) {
      ready = (await this.#engine).getValidator(schema as never);
      this.#ready.set(schema, ready);
    }
    const { valid, errorMessage } = ready(value);
    return valid ? undefined : errorMessage;
  }
}

async function engine(): Promise<AjvJsonSchemaValidator> {
  const library = await import("@modelcontextprotocol/client/validators/ajv");
  return new library.AjvJsonSchemaValidator();
}
