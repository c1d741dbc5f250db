import type { CloudEvent } from "@armature/core";

let count = 0;

/** An event for tests, of the tenant `acme`. */
export function testEvent(source: string, subject: string, sequence: number): CloudEvent {
  count += 1;
  return {
    specversion: "1.0",
    id: `evt_${process.pid}_${count}`,
    source,
    type: "order.changed",
    subject,
    time: "2026-01-02T03:04:05.678Z",
    datacontenttype: "application/json",
    data: { note: "as ordered", quantity: 3 },
    dataversion: 1,
    tenant: "acme",
    sequence,
    actor: "user:ann",
    correlationid: "cor_1",
    causationid: "call_1",
    traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
  };
}
