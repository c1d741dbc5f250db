import type { Instant } from "./clock.ts";
import type { Actor, Party } from "./principal.ts";
import type { JsonObject } from "./schema.ts";

/** A command sent through the outbox, to be run once. */
export interface SentCommand {
  readonly id: string;
  readonly tenant: string;
  /** The sender's context. */
  readonly context: string;
  /** `notifications.deliver` */
  readonly operation: string;
  readonly input: JsonObject;
  readonly time: Instant;
  readonly actor: Actor;
  readonly onBehalfOf?: Party | undefined;
  readonly limitedTo?: readonly string[] | undefined;
  readonly credential?: string | undefined;
  readonly correlationId: string;
  readonly causationId: string;
  readonly traceparent: string;
}
