import type { JsonObject } from "@armature/core";
import { AjvJsonSchemaValidator } from "@modelcontextprotocol/client/validators/ajv";

/** Checks values by JSON schemas that a host has pinned, each made ready once. */
export class JsonSchemas {
  readonly #engine = new AjvJsonSchemaValidator();
  readonly #ready = new WeakMap<JsonObject, ReturnType<AjvJsonSchemaValidator["getValidator"]>>();

  /** What does not fit, or undefined. */
  misfit(schema: JsonObject, value: unknown): string | undefined {
    let ready = this.#ready.get(schema);
    if (ready === undefined) {
      ready = this.#engine.getValidator(schema as never);
      this.#ready.set(schema, ready);
    }
    const { valid, errorMessage } = ready(value);
    return valid ? undefined : errorMessage;
  }
}
