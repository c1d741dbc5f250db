import { defineError, type ErrorClass } from "@armature/core";
import { z } from "zod";

/** No operation has this path. */
export class RouteUnknown extends defineError("http.route_unknown", {
  kind: "not-found",
  details: z.object({}),
  message: () => "There is nothing at this address.",
}) {}

/** The path exists, and this method does not. */
export class MethodNotAllowed extends defineError("http.method_not_allowed", {
  kind: "invalid",
  details: z.object({ allow: z.array(z.string()) }),
  message: ({ allow }) => `This address answers to ${allow.join(", ")} only.`,
}) {}

/** The body is longer than the server takes. */
export class BodyTooLarge extends defineError("http.body_too_large", {
  kind: "invalid",
  details: z.object({ maxBytes: z.number() }),
  message: ({ maxBytes }) => `The request's body is longer than ${maxBytes} bytes.`,
}) {}

/** The body is not JSON, by its own declaration. */
export class MediaTypeUnsupported extends defineError("http.media_type_unsupported", {
  kind: "invalid",
  details: z.object({ reason: z.string() }),
  message: ({ reason }) => `The request's body must be application/json in UTF-8, uncompressed: ${reason}.`,
}) {}

/** The client takes none of the formats that there are. */
export class NotAcceptable extends defineError("http.not_acceptable", {
  kind: "invalid",
  details: z.object({ offered: z.array(z.string()) }),
  message: ({ offered }) => `The answer can only be one of ${offered.join(", ")}.`,
}) {}

/** What the client has is not what is there: none of its `If-Match` tags is the version. */
export class PreconditionFailed extends defineError("http.precondition_failed", {
  kind: "precondition",
  details: z.object({}),
  message: () => "None of the entity tags in If-Match is that of the present version.",
}) {}

/** The server was told to take no change without a key. */
export class IdempotencyKeyRequired extends defineError("http.idempotency_key_required", {
  kind: "invalid",
  details: z.object({}),
  message: () => "This request needs a header Idempotency-Key, so that repeating it does no harm.",
}) {}

/** The server, or something that it needs, cannot answer for now. */
export class NotReady extends defineError("http.not_ready", {
  kind: "unavailable",
  details: z.object({ reason: z.string() }),
  message: ({ reason }) => `The server is not ready: ${reason}.`,
}) {}

/** The request is for another name than the server goes by, or was made by a page of another origin. */
export class HostRefused extends defineError("http.host_refused", {
  kind: "forbidden",
  details: z.object({ header: z.enum(["Host", "Origin"]) }),
  message: ({ header }) => `The header ${header} names a host that this endpoint does not answer to.`,
}) {}

/** Errors of the HTTP side itself, which no contract declares. */
export const httpErrors: readonly ErrorClass[] = [
  RouteUnknown,
  MethodNotAllowed,
  BodyTooLarge,
  MediaTypeUnsupported,
  NotAcceptable,
  PreconditionFailed,
  IdempotencyKeyRequired,
  NotReady,
  HostRefused,
];
