import { inspect } from "node:util";
import { describe, expect, it } from "vitest";
import { InvalidInput } from "../kernel/errors.ts";
import { AddressRefused, ProviderAnsweredGarbage, ProviderUnreachable } from "../kernel/port-errors.ts";
import type { HttpRequest } from "../kernel/ports.ts";
import { ReceivedResponse } from "../kernel/received-response.ts";
import { GuardedHttpClient } from "./guarded-http-client.ts";
import { httpFailure } from "./http-failure.ts";

const CANARY = "canary-7f3a";

// No test here may open a connection: a name that is looked up ends the test.
const client = new GuardedHttpClient({
  allowedOrigins: ["http://127.0.0.1:9"],
  resolve: (name) => {
    throw new Error(`${name} was looked up`);
  },
});

async function refusal(request: HttpRequest): Promise<Error> {
  const error = await client.send(request).then(
    () => expect.unreachable("it was sent"),
    (thrown: Error) => thrown,
  );
  expect(inspect(error, { showHidden: true, depth: 10 })).not.toContain(CANARY);
  return error;
}

const get = (url: string): Promise<Error> => refusal({ method: "GET", url });

describe("what the client refuses before it opens a connection", () => {
  it("refuses private addresses, however they are written", async () => {
    const hosts = [
      "127.0.0.1",
      "10.1.2.3",
      "169.254.169.254",
      "0x7f.1",
      "2130706433",
      "0",
      "0177.0.0.1",
      "[::1]",
      "[::ffff:10.0.0.1]",
    ];
    for (const host of [...hosts, "[fd00:ec2::254]", "[64:ff9b::a9fe:a9fe]", "127.0.0.1."])
      for (const scheme of ["http", "https"])
        expect(await get(`${scheme}://${host}/?token=${CANARY}`)).toBeInstanceOf(AddressRefused);
  });

  it("refuses an address next to an allowed origin: another port, scheme or spelling of the name", async () => {
    for (const url of ["http://127.0.0.1:10/", "https://127.0.0.1:9/", "http://127.0.0.2:9/", "http://127.0.0.1/"])
      expect(await get(url)).toBeInstanceOf(AddressRefused);
  });

  it("refuses plain http to public hosts", async () => {
    expect(await get(`http://crm.example/${CANARY}`)).toMatchObject({
      code: "http.address_refused",
      details: { host: "crm.example", reason: "plain http goes only to origins that the host has listed" },
    });
  });

  it("refuses other schemes, and credentials in the URL, even to an allowed origin", async () => {
    for (const url of [`file:///etc/${CANARY}`, `ftp://crm.example/`, `data:text/plain,${CANARY}`, `ws://crm.example/`])
      expect(await get(url)).toBeInstanceOf(AddressRefused);
    for (const url of [
      `https://ann:${CANARY}@crm.example/`,
      `https://${CANARY}@crm.example/`,
      `http://a:${CANARY}@127.0.0.1:9/`,
    ])
      expect(await get(url)).toMatchObject({ details: { reason: "the URL holds a user name or a password" } });
  });

  it("refuses what is not a URL without quoting it", async () => {
    for (const url of [CANARY, "", `https://`, `https://256.1.1.1/${CANARY}`, `//${CANARY}.example`])
      expect(await get(url)).toBeInstanceOf(InvalidInput);
  });

  it("refuses headers that HTTP does not allow, and never quotes their values", async () => {
    const send = (headers: Record<string, string>) => refusal({ method: "GET", url: "https://crm.example/", headers });
    expect(await send({ authorization: `Bearer ${CANARY}\r\nx: y` })).toMatchObject({
      details: { issues: [{ path: "headers.authorization", message: "has a value that HTTP does not allow" }] },
    });
    expect(await send({ [`x y ${CANARY}`]: "1" })).toBeInstanceOf(InvalidInput);
    expect(await send({ authorization: `${CANARY}€` })).toBeInstanceOf(InvalidInput);
  });

  it("refuses headers that are the connection's own business", async () => {
    for (const name of ["Host", "content-length", "Transfer-Encoding", "connection", "upgrade"])
      expect(await refusal({ method: "GET", url: "https://crm.example/", headers: { [name]: CANARY } })).toMatchObject({
        details: { issues: [{ path: `headers.${name}`, message: "is set by the client itself" }] },
      });
  });

  it("refuses a body with GET and HEAD", async () => {
    for (const method of ["GET", "HEAD"] as const)
      expect(await refusal({ method, url: "https://crm.example/", body: CANARY })).toBeInstanceOf(InvalidInput);
  });

  it("sends nothing for a caller who has given up already", async () => {
    const reason = new Error("gone");
    const request = { method: "GET", url: "https://crm.example/", signal: AbortSignal.abort(reason) } as const;
    expect(await refusal(request)).toBe(reason);
  });

  it("sends nothing once it is closed", async () => {
    const closed = new GuardedHttpClient();
    await closed.close();
    await expect(closed.send({ method: "GET", url: "https://crm.example/" })).rejects.toThrow(
      new ProviderUnreachable({ host: "crm.example", reason: "the client is closed" }),
    );
  });
});

describe("the allowed origins", () => {
  it("must be exact origins", () => {
    const wrong = [
      "127.0.0.1:80",
      "http://crm.internal/",
      "http://crm.internal:80",
      "http://CRM.internal",
      "ftp://crm.internal",
    ];
    for (const origin of [
      ...wrong,
      "http://*.internal",
      "https://crm.internal/api",
      "http://u:p@crm.internal",
      "*",
      "",
    ])
      expect(() => new GuardedHttpClient({ allowedOrigins: [origin] }), origin).toThrow(TypeError);
    for (const origin of ["http://crm.internal", "https://crm.internal:8443", "http://[::1]:8080"])
      expect(() => new GuardedHttpClient({ allowedOrigins: [origin] }), origin).not.toThrow();
  });
});

describe("a failure below", () => {
  const failed = (cause: unknown) => httpFailure(new TypeError("fetch failed", { cause }), "crm.example");
  const coded = (code: string) => Object.assign(new Error(`${code} at ${CANARY}`), { code, body: CANARY });

  it("becomes an error of the port that says why and quotes nothing", () => {
    for (const [code, reason] of [
      ["ENOTFOUND", "the name is unknown"],
      ["ECONNREFUSED", "the connection was refused"],
      ["UND_ERR_SOCKET", "the connection was cut off"],
      ["CERT_HAS_EXPIRED", "TLS failed with CERT_HAS_EXPIRED"],
      ["ERR_TLS_CERT_ALTNAME_INVALID", "TLS failed with ERR_TLS_CERT_ALTNAME_INVALID"],
      ["SOMETHING_NEW", "the exchange failed"],
    ]) {
      const error = failed(coded(code!));
      expect(error).toBeInstanceOf(ProviderUnreachable);
      expect(error.details).toEqual({ host: "crm.example", reason });
      expect(inspect(error, { showHidden: true, depth: 10 })).not.toContain(CANARY);
    }
  });

  it("is found however deep it lies, and a circle of causes ends", () => {
    const deep = new Error("a", { cause: new Error("b", { cause: coded("ECONNRESET") }) });
    expect(failed(deep).details.reason).toBe("the connection was cut off");
    const circle = new Error("round");
    circle.cause = circle;
    expect(failed(circle).details.reason).toBe("the exchange failed");
    expect(httpFailure("thrown text", "crm.example").details.reason).toBe("the exchange failed");
  });

  it("keeps the guard's refusal, under the name that was called", () => {
    const refused = new AddressRefused({ host: "10.0.0.1", reason: "the address is not public (private)" });
    expect(failed(refused)).toMatchObject({ code: "http.address_refused", details: { host: "crm.example" } });
  });

  it("is the other side's garbage when the answer cannot be read", () => {
    const parser = Object.assign(new Error("Expected HTTP/"), { name: "HTTPParserError", data: CANARY });
    expect(failed(parser)).toBeInstanceOf(ProviderAnsweredGarbage);
    for (const code of ["Z_DATA_ERROR", "ERR__ERROR_FORMAT_PADDING_1", "UND_ERR_HEADERS_OVERFLOW"])
      expect(failed(coded(code))).toBeInstanceOf(ProviderAnsweredGarbage);
  });
});

describe("a received answer", () => {
  const answer = (body: string | Uint8Array) =>
    new ReceivedResponse({
      status: 200,
      headers: new Headers(),
      url: `https://crm.example/?key=${CANARY}`,
      body: typeof body === "string" ? new TextEncoder().encode(body) : body,
    });

  it("reads as bytes, text and JSON, again and again", () => {
    const received = answer('{"name":"Zoë"}');
    for (let round = 0; round < 2; round += 1) {
      expect(received.json()).toEqual({ name: "Zoë" });
      expect(received.text()).toBe('{"name":"Zoë"}');
      expect(received.bytes()).toHaveLength(15);
    }
  });

  it("that is not JSON, or not UTF-8, is garbage, and the error quotes neither body nor query", () => {
    for (const body of ["", `{"${CANARY}"`, `<html>${CANARY}`, Uint8Array.of(0x22, 0xe9, 0x22)]) {
      let thrown: unknown;
      try {
        answer(body).json();
      } catch (error) {
        thrown = error;
      }
      expect(thrown).toMatchObject({ code: "provider.answered_garbage", details: { host: "crm.example" } });
      expect(inspect(thrown, { showHidden: true, depth: 10 })).not.toContain(CANARY);
    }
  });
});
