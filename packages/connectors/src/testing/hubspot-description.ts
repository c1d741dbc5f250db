import { existsSync, readFileSync } from "node:fs";
import path from "node:path";

/** JSON of an OpenAPI document, read no deeper than is needed here. */
type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
type JsonObject = { [key: string]: Json };

const repository = path.resolve(import.meta.dirname, "../../../..");
/** Beside the repository: the descriptions are HubSpot's, and are no part of it. */
export const descriptionFolder = path.join(repository, "..", "shared", "specs", "hubspot");

const FILES = ["contacts.json", "oauth.json", "account-info.json"];

export const hasDescriptions = FILES.every((file) => existsSync(path.join(descriptionFolder, file)));

/**
 * HubSpot's own descriptions as one document that prism can serve. They belong to one origin, so their paths and schemas
 * are joined. Changed is what prism stumbles over, and what would let a mistake of ours through:
 *
 * - examples that are null, or a text in the place of an object, are taken out;
 * - the error answers' content type, any, becomes JSON;
 * - a token answer shows `bearer` and half an hour, where the description allows any word and any number;
 * - what is sent may have no members that the description does not name.
 */
export function hubSpotDescription(): JsonObject {
  const [first, ...others] = FILES.map((file) => {
    const text = readFileSync(path.join(descriptionFolder, file), "utf8");
    return cleaned(JSON.parse(text) as JsonObject) as JsonObject;
  });
  const joined = structuredClone(first!);
  for (const each of others) {
    join(joined, each, "paths");
    for (const part of ["schemas", "responses"])
      join(joined["components"] as JsonObject, each["components"] as JsonObject, part);
  }
  const schemas = (joined["components"] as JsonObject)["schemas"] as JsonObject;
  const token = (schemas["AccessTokenResponse"] as JsonObject)["properties"] as { [key: string]: JsonObject };
  token["token_type"]!["example"] = "bearer";
  token["expires_in"]!["example"] = 1800;
  close(joined["paths"] as JsonObject, schemas);
  return joined;
}

function cleaned(value: Json): Json {
  if (Array.isArray(value)) return value.map(cleaned);
  if (value === null || typeof value !== "object") return value;
  const members = Object.entries(value).filter(
    ([key, member]) =>
      key !== "example" || (member !== null && !(typeof member === "string" && value["type"] === "object")),
  );
  return Object.fromEntries(
    members.map(([key, member]) => [key === "*/*" ? "application/json" : key, cleaned(member)]),
  );
}

function join(target: JsonObject, source: JsonObject, part: string): void {
  const present = target[part] as JsonObject;
  for (const [key, value] of Object.entries(source[part] as JsonObject)) {
    if (key in present && JSON.stringify(present[key]) !== JSON.stringify(value))
      throw new Error(`Two of HubSpot's descriptions differ about ${part} ${key}.`);
    present[key] = value;
  }
}

// Only what is sent and never received: answers may have members that nobody knows yet.
function close(paths: JsonObject, schemas: JsonObject): void {
  const operations = Object.values(paths).flatMap((item) => Object.values(item as JsonObject)) as JsonObject[];
  const sent = referred(
    operations.map(({ requestBody }) => requestBody ?? null),
    schemas,
  );
  const received = referred(
    operations.map(({ responses }) => responses ?? null),
    schemas,
  );
  for (const name of sent) {
    const schema = schemas[name] as JsonObject;
    if (!received.has(name) && "properties" in schema) schema["additionalProperties"] = false;
  }
}

function referred(value: Json, schemas: JsonObject, found = new Set<string>()): Set<string> {
  for (const [, name] of JSON.stringify(value).matchAll(/"#\/components\/schemas\/(\w+)"/g)) {
    if (found.has(name!)) continue;
    found.add(name!);
    referred(schemas[name!]!, schemas, found);
  }
  return found;
}
