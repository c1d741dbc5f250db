import type { Instant } from "./clock.ts";
import type { Actor, Party } from "./principal.ts";
import type { JsonObject } from "./schema.ts";

/** An event as it is stored; the CloudEvents envelope is made of it. */
export interface StoredEvent {
  readonly id: string;
  readonly tenant: string;
  readonly context: string;
  /** `connector.connected` */
  readonly type: string;
  /** Version of the event's data. */
  readonly version: number;
  readonly aggregateType: string;
  readonly aggregateId: string;
  /** The aggregate's version after this event. */
  readonly aggregateVersion: number;
  readonly time: Instant;
  readonly data: JsonObject;
  readonly actor: Actor;
  readonly onBehalfOf?: Party | undefined;
  /** Id shared by everything that one outside call set off. */
  readonly correlationId: string;
  /** Id of the call or event that caused this one. */
  readonly causationId: string;
  /** W3C trace context. */
  readonly traceparent: string;
}
