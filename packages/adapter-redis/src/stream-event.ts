import { type CloudEvent, type Issue, json, type Schema, tryParse } from "@armature/core";
import { z } from "zod";

const text = z.string().min(1);

// Fields that a newer version adds are dropped.
const cloudEvent = z.object({
  specversion: z.literal("1.0"),
  id: text,
  source: text,
  type: text,
  subject: text,
  time: text,
  datacontenttype: z.literal("application/json"),
  data: z.record(z.string(), json),
  dataversion: z.int(),
  tenant: text,
  sequence: z.int(),
  actor: text,
  onbehalfof: z.string().optional(),
  correlationid: z.string(),
  causationid: z.string(),
  traceparent: z.string(),
}) as unknown as Schema<CloudEvent>;

/** The event that an entry holds, or what is wrong with it; never what it says. */
export function readEvent(json: string): { readonly event: CloudEvent } | { readonly issues: readonly Issue[] } {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch {
    return { issues: [{ path: "", message: "is not JSON" }] };
  }
  const parsed = tryParse(cloudEvent, value);
  return parsed.ok ? { event: parsed.value } : { issues: parsed.issues };
}

/** Events that have to stay in order have the same key. */
export function laneOf(event: Pick<CloudEvent, "tenant" | "subject">): string {
  return `${event.tenant} ${event.subject}`;
}

/** FNV-1a over UTF-16 code units. Every publisher has to come to the same number, so it never changes. */
export function partitionOf(lane: string, partitions: number): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < lane.length; at += 1) hash = Math.imul(hash ^ lane.charCodeAt(at), 0x01000193);
  // The low bits of FNV are its weak ones.
  return ((hash ^ (hash >>> 15)) >>> 0) % partitions;
}
