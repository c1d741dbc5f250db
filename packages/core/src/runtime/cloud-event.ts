import type { CloudEvent } from "../kernel/ports.ts";
import type { StoredEvent } from "../kernel/store.ts";

/** The CloudEvents 1.0 envelope of a stored event. */
export function toCloudEvent(event: StoredEvent): CloudEvent {
  const envelope: CloudEvent = {
    specversion: "1.0",
    id: event.id,
    source: `/contexts/${event.context}`,
    type: event.type,
    subject: `${event.aggregateType}/${event.aggregateId}`,
    time: event.time,
    datacontenttype: "application/json",
    data: event.data,
    dataversion: event.version,
    tenant: event.tenant,
    sequence: event.aggregateVersion,
    actor: `${event.actor.type}:${event.actor.id}`,
    correlationid: event.correlationId,
    causationid: event.causationId,
    traceparent: event.traceparent,
  };
  if (event.onBehalfOf === undefined) return envelope;
  return { ...envelope, onbehalfof: `${event.onBehalfOf.type}:${event.onBehalfOf.id}` };
}
