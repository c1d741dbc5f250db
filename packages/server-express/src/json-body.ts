import { Canceled, InvalidInput } from "@armature/core";
import { BodyTooLarge, MediaTypeUnsupported } from "./http-errors.ts";
import { type HandlerRequest, headerOf, type RequestHeaders } from "./http-exchange.ts";

/** Nothing that means something nests deeper, and what walks a value by recursion must not be made to overflow. */
const MAX_DEPTH = 100;

/**
 * A body of nothing but fields or empty lists costs a hundred times what its bytes do, once it is taken apart, checked
 * and written down. A share of the longest body: whoever takes more bytes takes more fields.
 */
const BYTES_PER_FIELD = 20;

/**
 * The fields of a request's JSON body; undefined when there is none. Never quotes the body in an error: it may hold
 * secrets.
 *
 * @throws {Canceled} when the client goes away before the body is there
 * @throws {BodyTooLarge} as soon as that is known, without reading on
 * @throws {MediaTypeUnsupported} when it is not JSON by its own declaration
 * @throws {InvalidInput} when it is not a JSON object
 */
export async function readJsonBody(
  request: Pick<HandlerRequest, "headers" | "body">,
  maxBytes: number,
): Promise<Readonly<Record<string, unknown>> | undefined> {
  const { headers, body } = request;
  if (body === undefined) return undefined;
  const announced = Number(headerOf(headers, "content-length") ?? 0);
  if (announced > maxBytes) throw new BodyTooLarge({ maxBytes });
  const bytes = await readBytes(body, maxBytes);
  if (bytes.byteLength === 0) return undefined;
  checkMediaType(headers);
  const value = parseJson(decode(bytes), Math.max(1000, Math.ceil(maxBytes / BYTES_PER_FIELD)));
  if (value === null || typeof value !== "object" || Array.isArray(value)) throw invalidBody("must be a JSON object");
  return value as Record<string, unknown>;
}

export function invalidBody(message: string): InvalidInput {
  return new InvalidInput({ subject: "The request's body", issues: [{ path: "", message }] });
}

async function readBytes(body: AsyncIterable<Uint8Array>, maxBytes: number): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  try {
    for await (const chunk of body) {
      length += chunk.byteLength;
      if (length > maxBytes) break;
      chunks.push(chunk);
    }
  } catch (cause) {
    // The connection broke in the middle of the body.
    throw new Canceled({ operation: "The request" }, { cause });
  }
  if (length > maxBytes) throw new BodyTooLarge({ maxBytes });
  return chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks);
}

function checkMediaType(headers: RequestHeaders): void {
  const coding = headerOf(headers, "content-encoding")?.trim().toLowerCase() ?? "identity";
  if (coding !== "identity") throw new MediaTypeUnsupported({ reason: "it has a content-encoding" });
  const declared = headerOf(headers, "content-type");
  if (declared === undefined) throw new MediaTypeUnsupported({ reason: "it has no content-type" });
  const [type = "", ...parameters] = declared.split(";").map((part) => part.trim().toLowerCase());
  if (!/^application\/(?:[a-z0-9!#$&^_.-]+\+)?json$/.test(type))
    throw new MediaTypeUnsupported({ reason: "its content-type is another one" });
  const charset = parameters.find((parameter) => parameter.startsWith("charset="))?.slice("charset=".length);
  if (charset !== undefined && !/^"?utf-?8"?$/.test(charset))
    throw new MediaTypeUnsupported({ reason: "its charset is another one" });
}

const utf8 = new TextDecoder("utf-8", { fatal: true });

function decode(bytes: Uint8Array): string {
  try {
    return utf8.decode(bytes);
  } catch {
    throw invalidBody("is not UTF-8");
  }
}

function parseJson(text: string, mostFields: number): unknown {
  const excess = excessOf(text, mostFields);
  if (excess !== undefined) throw invalidBody(excess);
  try {
    return JSON.parse(text);
  } catch {
    throw invalidBody("is not JSON");
  }
}

// Looks at the text, so that depth and number are known before anything is made of it.
function excessOf(text: string, mostFields: number): string | undefined {
  let depth = 0;
  let fields = 0;
  let inString = false;
  for (let index = 0; index < text.length; index += 1) {
    const code = text.charCodeAt(index);
    if (inString) {
      if (code === BACKSLASH) index += 1;
      else if (code === QUOTE) inString = false;
    } else if (code === QUOTE) inString = true;
    else if (code === COLON) fields += 1;
    else if (code === OPEN_BRACE || code === OPEN_BRACKET) {
      depth += 1;
      fields += 1;
      if (depth > MAX_DEPTH) return `nests deeper than ${MAX_DEPTH} levels`;
    } else if (code === CLOSE_BRACE || code === CLOSE_BRACKET) depth -= 1;
  }
  return fields > mostFields ? `holds more than ${mostFields} fields, objects and lists` : undefined;
}

const QUOTE = 0x22;
const COLON = 0x3a;
const BACKSLASH = 0x5c;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
