import { cpuUsage } from "node:process";
import { type Context, createContext, Script } from "node:vm";
import { z } from "zod";
import { InvalidInput } from "../../kernel/errors.ts";
import { type Issue, type JsonObject, type Parsed, type Schema, tryParse } from "../../kernel/schema.ts";

/**
 * How long a schema may take to be read, and to check arguments. Who asks for an approval writes it: an expression or
 * a web of references can take for ever, and would stop everybody's work in this process.
 */
const LONGEST_MS = 200;
/** How often it is tried again on a machine that has not let it run. */
const MOST_TRIES = 10;

const subject = "The approval";
const field = "inputSchema";

/**
 * Throws unless the JSON Schema describes an object and can be read. What zod's `fromJSONSchema` cannot read
 * (conditions, `not`, dependencies, references to elsewhere) is refused here, not passed over when somebody edits.
 *
 * @throws {InvalidInput} with the path `inputSchema`
 */
export function checkInputSchema(schema: JsonObject): void {
  const wrong = (message: string) => new InvalidInput({ subject, issues: [{ path: field, message }] });
  if (schema["type"] !== "object") throw wrong('must be of the type "object"');
  const read = withinTime(() => readable(schema));
  if (read === undefined) throw wrong("takes too long to read");
  if (!read.ok) throw wrong(`cannot be read: ${read.reason}`);
}

/**
 * Throws unless the arguments fit the schema. They are not changed: no default is filled in.
 *
 * @throws {InvalidInput} with what is wrong, below the path `arguments`
 */
export function checkEdited(schema: JsonObject, args: JsonObject): void {
  const checked = withinTime((): Parsed<unknown> => {
    const read = readable(schema);
    return read.ok ? tryParse(read.schema, args) : { ok: false, issues: [{ path: "", message: read.reason }] };
  });
  const issues: readonly Issue[] =
    checked === undefined ? [{ path: "", message: "take too long to check" }] : checked.ok ? [] : checked.issues;
  if (issues.length === 0) return;
  const inside = (path: string) => (path === "" ? "arguments" : `arguments.${path}`);
  throw new InvalidInput({
    subject: "The edit",
    issues: issues.map(({ path, message }) => ({ path: inside(path), message })),
  });
}

type Read = { readonly ok: true; readonly schema: Schema } | { readonly ok: false; readonly reason: string };

function readable(schema: JsonObject): Read {
  try {
    // A registry of its own: what an annotation calls itself is nothing that others should find.
    return { ok: true, schema: z.fromJSONSchema(schema as never, { registry: z.registry() }) };
  } catch (error) {
    return { ok: false, reason: error instanceof RangeError ? "it is nested too deeply" : (error as Error).message };
  }
}

const script = new Script("run()");
let context: Context | undefined;

// Node stops what runs inside of a script, an expression too, and nothing else.
function withinTime<T>(run: () => T): T | undefined {
  context ??= createContext({});
  let result: T | undefined;
  context["run"] = () => {
    result = run();
  };
  try {
    for (let tries = 1; ; tries += 1) {
      const before = cpuUsage();
      try {
        script.runInContext(context, { timeout: LONGEST_MS });
        return result;
      } catch (error) {
        if ((error as { readonly code?: unknown }).code !== "ERR_SCRIPT_EXECUTION_TIMEOUT") throw error;
        const { user, system } = cpuUsage(before);
        // What is measured is the time of day, and others may have had it.
        if (user + system > 500 * LONGEST_MS || tries === MOST_TRIES) return undefined;
      }
    }
  } finally {
    context["run"] = undefined;
  }
}
