import type { ErrorClass, ErrorKind } from "../packages/core/src/kernel/errors.ts";
import { type JsonObject, jsonSchema } from "../packages/core/src/kernel/schema.ts";
import { statusOf } from "../packages/server-express/src/problem.ts";
import { GENERATED, typeText } from "./reference-page.ts";

/** A refusal that no error class stands for: Node's parser finds it before there is a request. */
export interface Refusal {
  readonly code: string;
  readonly status: number;
  readonly kind: ErrorKind;
  readonly sentence: string;
}

interface Advice {
  /** Whether the same request may succeed later. */
  readonly again: string;
  readonly advice: string;
}

const byKind: Readonly<Record<ErrorKind, Advice>> = {
  invalid: { again: "no", advice: "Mend the request." },
  unauthenticated: { again: "no", advice: "Present a working credential." },
  forbidden: { again: "no", advice: "Have the permission given to the caller, or call as somebody who has it." },
  "not-found": { again: "no", advice: "Look for the right id; what belongs to another tenant is not found either." },
  conflict: { again: "no", advice: "Read what is there now, and decide anew." },
  precondition: { again: "no", advice: "Read the state of the thing: it does not allow this." },
  exhausted: { again: "yes, after `Retry-After`", advice: "Wait as long as the answer says." },
  unavailable: { again: "yes", advice: "Repeat with growing waits; a change with an `Idempotency-Key`." },
  timeout: { again: "yes, with an `Idempotency-Key`", advice: "It may have happened: repeat it with the same key." },
  "unknown-outcome": { again: "no", advice: "Look whether it happened, then begin anew with another key." },
  internal: { again: "no", advice: "Report it with the `traceId`: the server's log has the rest." },
};

const byCode: Readonly<Record<string, Partial<Advice>>> = {
  invalid_input: { advice: "Mend what `errors` names." },
  version_conflict: { again: "yes", advice: "Repeat it: somebody else was quicker, several times." },
  version_mismatch: { advice: "Read it again, and decide on the new version." },
  "http.precondition_failed": { advice: "Read it again, and send its `ETag`." },
  "idempotency.in_progress": { again: "yes, after `Retry-After`", advice: "Repeat it with the same key." },
  "idempotency.key_reused": { advice: "Take a new key for another request." },
  "idempotency.result_not_kept": { advice: "It is done. Make a new one if the secret is lost." },
  "http.not_ready": { again: "yes", advice: "Ask again, or another instance." },
  "http.request_timeout": { again: "yes", advice: "Send it faster." },
  "store.not_migrated": { again: "no", advice: "The operator runs `armature-server migrate`." },
};

/** Every error that an HTTP answer can have, in order of its code. */
export function problemsPage(errors: readonly ErrorClass[], refusals: readonly Refusal[]): string {
  const known = new Map(errors.map((error) => [error.code, error] as const));
  const rows: readonly (Refusal & { readonly error?: ErrorClass })[] = [
    ...refusals,
    ...[...known.values()].map((error) => ({
      code: error.code,
      kind: error.kind,
      status: statusOf(error),
      sentence: sentenceOf(error),
      error,
    })),
  ].toSorted((a, b) => (a.code < b.code ? -1 : 1));
  const page = [
    GENERATED.replace("the contract", "the errors"),
    "",
    "# Problems",
    "",
    "Refusals are problem details (RFC 9457). Programs look at `code`, or at `kind`; people read `detail`. `type` is",
    "`urn:armature:error:<code>`, a name and no address: the code has a heading here. `requestId` and `traceId` are what",
    "the log, the audit and the events have the request under. A wrong input has its issues in `errors`: `path` and",
    "`message` each. Contexts of a host add codes of their own; their operations list them in `/openapi.json`.",
    "",
    ...rows.flatMap(({ code, kind, status, sentence, error }) => {
      const { again, advice } = { ...byKind[kind], ...byCode[code] };
      return [
        `## \`${code}\``,
        "",
        `${status} · ${kind} · repeat: ${again}`,
        "",
        `> ${sentence}`,
        "",
        `${advice}${error === undefined ? "" : detailsOf(error)}`,
        "",
      ];
    }),
  ];
  return `${page.join("\n").trimEnd()}\n`;
}

function detailsOf(error: ErrorClass): string {
  if (error.kind === "internal" && error.code !== "internal") return " Shown only where an operation declares it.";
  const schema = jsonSchema(error.details, "output");
  const names = Object.keys((schema["properties"] ?? {}) as JsonObject).filter((name) => name !== "issues");
  if (names.length === 0 || error.code === "internal") return "";
  return ` Details: \`${typeText(schema as never, schema as never)}\`.`.replace(/; issues: [^}]*\}\[\]/, "");
}

// The error's own sentence, made of the names of its details.
function sentenceOf(error: ErrorClass): string {
  const schema = jsonSchema(error.details, "output");
  return new error(sample(schema, schema, "")).message.replaceAll("<", "‹").replaceAll(">", "›");
}

function sample(root: JsonObject, schema: JsonObject, name: string): unknown {
  const node = schema as { readonly type?: string; readonly enum?: readonly unknown[]; readonly items?: JsonObject };
  if (node.enum !== undefined) return `<${name}>`;
  const options = (schema["anyOf"] ?? schema["oneOf"]) as readonly JsonObject[] | undefined;
  if (options !== undefined) return sample(root, options[0]!, name);
  if (node.type === "object") {
    const properties = (schema["properties"] ?? {}) as Readonly<Record<string, JsonObject>>;
    return Object.fromEntries(Object.entries(properties).map(([key, inner]) => [key, sample(root, inner, key)]));
  }
  if (node.type === "array") return [sample(root, node.items ?? {}, name.replace(/s$/, ""))];
  if (node.type === "number" || node.type === "integer") return name.endsWith("Ms") ? 5_000 : 1;
  if (node.type === "boolean") return true;
  return `<${name}>`;
}
