import { createHmac, timingSafeEqual } from "node:crypto";
import type { Secret } from "@armature/core";

const TOLERANCE_MS = 5 * 60_000;

export interface HubSpotSignedRequest {
  /** The method that HubSpot used, `POST`. */
  readonly method: string;
  /**
   * The address that HubSpot called, from the scheme to the query: the one that the subscription names. Behind a proxy
   * it is not what the server sees.
   */
  readonly url: string;
  /** The body as it arrived. Parsed and written again, it is another text. */
  readonly body: Uint8Array;
  /** Header `X-HubSpot-Signature-v3`. */
  readonly signature: string | undefined;
  /** Header `X-HubSpot-Request-Timestamp`. */
  readonly timestamp: string | undefined;
  /** The app's client secrets: while one is being replaced, the old and the new one. */
  readonly secrets: readonly (string | Secret<string>)[];
  /** Now, in milliseconds. */
  readonly now: number;
}

/**
 * Whether a request was signed by HubSpot, version 3: base64 of HMAC-SHA256, keyed by the app's client secret, over
 * method, address, body and timestamp; not older than five minutes, nor as much ahead of our clock.
 *
 * Source: developers.hubspot.com, "Validating requests from HubSpot"; HubSpot/hubspot-api-nodejs src/utils/signature.ts.
 */
export function verifyHubSpotSignature(request: HubSpotSignedRequest): boolean {
  const { method, url, body, signature = "", timestamp = "", secrets, now } = request;
  if (!/^\d{1,15}$/.test(timestamp) || Math.abs(now - Number(timestamp)) > TOLERANCE_MS) return false;
  // The one spelling of 32 bytes in base64.
  if (!/^[A-Za-z0-9+/]{43}=$/.test(signature)) return false;
  const given = Buffer.from(signature, "base64");
  let found = false;
  for (const secret of secrets) {
    const key = typeof secret === "string" ? secret : secret.reveal();
    // An empty key would make everybody's signatures good.
    if (key === "") continue;
    // HubSpot's page says to decode the address; its own clients take it as it is. For most addresses both are the same.
    for (const address of new Set([decoded(url), url])) {
      const expected = createHmac("sha256", key).update(method).update(address).update(body).update(timestamp).digest();
      // No early end: how long it takes must not tell which secret it was.
      found = timingSafeEqual(expected, given) || found;
    }
  }
  return found;
}

// The list of HubSpot's page; other escapes stay as they are.
function decoded(url: string): string {
  return url.replaceAll(/%(?:3A|2F|3F|40|21|24|27|28|29|2A|2C|3B)/gi, decodeURIComponent);
}
