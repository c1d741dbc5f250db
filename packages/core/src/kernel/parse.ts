import { InvalidInput } from "./errors.ts";
import { type Schema, tryParse } from "./schema.ts";

/** Parses or throws `InvalidInput`, whose sentence starts with `subject`. */
export function parse<Out>(schema: Schema<Out>, value: unknown, subject: string): Out {
  const parsed = tryParse(schema, value);
  if (parsed.ok) return parsed.value;
  throw new InvalidInput({ subject, issues: [...parsed.issues] });
}
