import { createHmac } from "node:crypto";
import { Secret } from "@armature/core";
import { describe, expect, it } from "vitest";
import { type HubSpotSignedRequest, verifyHubSpotSignature } from "./hubspot.ts";

// Published with HubSpot's own clients: hubspot-api-python tests/spec/utils/test_signature.py and hubspot-api-ruby
// spec/helpers/signature_spec.rb. Both sign one request, at two times. The quotes in the body are theirs.
const request = {
  method: "POST",
  url: "https://www.example.com/webhook_uri",
  body: Buffer.from("{'example_field':'example_value'}"),
  secrets: ["yyyyyyyy-yyyy-yyyy-yyyy-yyyyyyyyyyyy"],
};
const vectors = [
  { timestamp: "1693657560000", signature: "K36dawei4A+QBNolUOqo7s91KQDWQ5MXZ/QufNYuk/Y=" },
  { timestamp: "1700000300000", signature: "RnbPH7+UMKVkbV32P8bz450N4M56aPmcru1+D3kSDtw=" },
];
// From hubspot-api-nodejs test/unit/signature.spec.ts: the versions before, which have no timestamp.
const OLDER = [
  "232db2615f3d666fe21a8ec971ac7b5402d33b9a925784df3ca654d05f4817de",
  "eee2dddcc73c94d699f5e395f4b9d454a069a6855fbfa152e91e88823087200e",
  "9569219f8ba981ffa6f6f16aa0f48637d35d728c7e4d93d0d52efaa512af7900",
];

const [vector] = vectors as [(typeof vectors)[number], ...typeof vectors];
const then = Number(vector.timestamp);
const verify = (changes: Partial<HubSpotSignedRequest> = {}) =>
  verifyHubSpotSignature({ ...request, ...vector, now: then, ...changes });

describe("HubSpot's signature, version 3", () => {
  it.each(vectors)("takes the published signature of $timestamp", ({ timestamp, signature }) => {
    expect(verify({ timestamp, signature, now: Number(timestamp) + 1 })).toBe(true);
  });

  it("refuses a request in which anything that is signed is another", () => {
    expect(verify({ method: "PUT" })).toBe(false);
    expect(verify({ url: "https://www.example.com/webhook_uri/" })).toBe(false);
    expect(verify({ url: "http://www.example.com/webhook_uri" })).toBe(false);
    expect(verify({ body: Buffer.from("{'example_field': 'example_value'}") })).toBe(false);
    expect(verify({ timestamp: String(then + 1) })).toBe(false);
    expect(verify({ secrets: ["another"] })).toBe(false);
    expect(verify({ signature: vectors[1]?.signature })).toBe(false);
  });

  it("refuses a request that is older than five minutes, or as much ahead", () => {
    const minutes = (count: number) => then + count * 60_000;
    expect([minutes(5), minutes(-5)].map((now) => verify({ now }))).toEqual([true, true]);
    expect([minutes(5) + 1, minutes(-5) - 1, 0].map((now) => verify({ now }))).toEqual([false, false, false]);
  });

  it("takes any of several secrets while one is being replaced, revealed or sealed", () => {
    const [secret] = request.secrets as [string];
    expect(verify({ secrets: ["the new one", secret] })).toBe(true);
    expect(verify({ secrets: [new Secret(secret), "the new one"] })).toBe(true);
    expect(verify({ secrets: ["the new one", "a newer one"] })).toBe(false);
    expect(verify({ secrets: [] })).toBe(false);
  });

  it("an empty secret proves nothing", () => {
    const { method, url, body } = request;
    const forged = createHmac("sha256", "").update(method).update(url).update(body).update(vector.timestamp);
    expect(verify({ secrets: [""], signature: forged.digest("base64") })).toBe(false);
  });

  it("refuses what is no signature, and the versions without a timestamp", () => {
    const { signature } = vector;
    const wrong = ["", "=", `${signature} `, signature.slice(0, -1), signature.replace("+", "-"), `${signature}AAAA`];
    for (const each of [...wrong, ...OLDER, undefined]) expect(verify({ signature: each }), each).toBe(false);
    for (const timestamp of ["", "now", "1693657560000.0", "+1693657560000", " 1693657560000", undefined])
      expect(verify({ timestamp }), timestamp).toBe(false);
  });

  it("reads the body as bytes: what is no text is signed and checked all the same", () => {
    const body = Uint8Array.from([0xff, 0x00, 0xfe]);
    expect(verify({ body, signature: signed(request.url, body) })).toBe(true);
    expect(verify({ body: Uint8Array.from([0xff, 0x00, 0xfd]), signature: signed(request.url, body) })).toBe(false);
  });

  it("takes an address decoded as HubSpot's page lists it, or as HubSpot's clients take it", () => {
    const url = "https://www.example.com/hook?at=a%40b.example&to=%2Fx%3A%3b&raw=%20%26%3D";
    const asListed = "https://www.example.com/hook?at=a@b.example&to=/x:;&raw=%20%26%3D";
    for (const address of [asListed, url])
      expect(verify({ url, signature: signed(address, request.body) }), address).toBe(true);
    const everything = decodeURIComponent(url);
    expect(verify({ url, signature: signed(everything, request.body) })).toBe(false);
  });
});

// By the definition, with the parts joined before: another way than the code's own.
function signed(url: string, body: Uint8Array): string {
  const parts = Buffer.concat([Buffer.from(`POST${url}`), body, Buffer.from(vector.timestamp)]);
  return createHmac("sha256", request.secrets[0]!).update(parts).digest("base64");
}
