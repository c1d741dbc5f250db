import { randomUUID } from "node:crypto";
import { InvalidInput } from "@armature/core";
import { headerOf, type RequestHeaders } from "./http-exchange.ts";

const PRINTABLE = /^[\x21-\x7e]{1,128}$/;

/** The client's own id of the request when it is one that can stand in a log, or a new one. */
export function requestIdOf(headers: RequestHeaders): string {
  const given = headerOf(headers, "x-request-id");
  return given !== undefined && PRINTABLE.test(given) ? given : `req_${randomUUID().replaceAll("-", "")}`;
}

/**
 * The API key that the client presents, if any. `Authorization` of another scheme than Bearer is somebody else's: a
 * proxy's, say.
 *
 * @throws {InvalidInput} when there are two
 */
export function apiKeyOf(headers: RequestHeaders): string | undefined {
  const own = headerOf(headers, "x-api-key")?.trim();
  const bearer = /^Bearer +(\S+) *$/i.exec(headerOf(headers, "authorization") ?? "")?.[1];
  if (own !== undefined && bearer !== undefined)
    throw invalidHeader("x-api-key", "is not to be sent together with Authorization: Bearer");
  return bearer ?? own;
}

/**
 * The idempotency key: a quoted string as in the IETF draft (RFC 8941, `"k-1"`), or the bare text that most clients
 * send. What may be in a key is the pipeline's to say.
 */
export function idempotencyKeyOf(headers: RequestHeaders): string | undefined {
  const given = headerOf(headers, "idempotency-key")?.trim();
  if (given === undefined || !given.startsWith('"')) return given;
  // Parameters of the item are allowed and mean nothing here.
  const quoted = /^"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"(?:;[ \x21-\x7e]*)?$/.exec(given);
  if (quoted === null) throw invalidHeader("idempotency-key", "is not a quoted string as RFC 8941 has it");
  return quoted[1]!.replaceAll(/\\(["\\])/g, "$1");
}

/** What a call gets when the client does not say, as a local one does. */
const DEFAULT_TIMEOUT_MS = 30_000;

/** How long the client is willing to wait, and no longer than the server is. */
export function timeoutOf(headers: RequestHeaders, maxMs: number): number {
  const given = headerOf(headers, "armature-timeout")?.trim();
  if (given === undefined) return Math.min(DEFAULT_TIMEOUT_MS, maxMs);
  if (!/^\d{1,9}$/.test(given) || Number(given) === 0)
    throw invalidHeader("armature-timeout", "must be a whole number of milliseconds, 1 or more");
  return Math.min(Number(given), maxMs);
}

/** Cursor of the last item of a stream that the client has. */
export function lastEventIdOf(headers: RequestHeaders): string | undefined {
  const given = headerOf(headers, "last-event-id");
  if (given === undefined || given === "") return undefined;
  // Node reads headers as Latin-1, and browsers write this one as UTF-8.
  return Buffer.from(given, "latin1").toString("utf8");
}

function invalidHeader(name: string, message: string): InvalidInput {
  return new InvalidInput({ subject: "A header of the request", issues: [{ path: name, message }] });
}
