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

/** The server, or something that it needs, cannot answer for now. */
export class NotReady extends defineError("http.not_ready", {
  kind: "unavailable",
  details: z.object({ reason: z.string() }),
  message: ({ reason }) => `The server is not ready: ${reason}.`,
}) {}

/** Errors of the HTTP side itself, which no contract declares. */
export const httpErrors: readonly ErrorClass[] = [
  RouteUnknown,
  MethodNotAllowed,
  BodyTooLarge,
  MediaTypeUnsupported,
  NotReady,
];
