import { inspect } from "node:util";
import { describe, expect, test } from "vitest";
import {
  AddressRefused,
  ProviderAnsweredGarbage,
  ProviderTimedOut,
  ProviderUnreachable,
} from "../kernel/port-errors.ts";
import type { HttpRequest } from "../kernel/ports.ts";
import { fixedClock } from "./fixed-clock.ts";
import { ProviderSimulator } from "./provider-simulator.ts";
import { answer } from "./simulated-answer.ts";

const contacts = "https://api.crm.example/contacts";
const get = (url = contacts, more: Partial<HttpRequest> = {}): HttpRequest => ({ method: "GET", url, ...more });

describe("a simulated provider", () => {
  test("answers a route one answer after another, and stays with the last", async () => {
    const simulator = new ProviderSimulator().on(`GET ${contacts}`, answer.status(503), answer.json({ items: [] }));
    const statuses = [];
    for (const request of [get(), get(), get()]) statuses.push((await simulator.send(request)).status);
    expect(statuses).toEqual([503, 200, 200]);
  });

  test("tells a handler what was asked for, by method, path, query and body", async () => {
    const simulator = new ProviderSimulator()
      .on(`GET ${contacts}/:id`, ({ params, query }) => answer.json({ id: params["id"], fields: query.get("fields") }))
      .on(`POST ${contacts}`, async (request) => answer.json({ received: request.json() }, { status: 201 }));
    const read = await simulator.send(get(`${contacts}/a%2Fb?fields=email`));
    expect(read.json()).toEqual({ id: "a/b", fields: "email" });
    const made = await simulator.send(get(contacts, { method: "POST", body: '{"email":"ann@example.com"}' }));
    expect([made.status, made.json()]).toEqual([201, { received: { email: "ann@example.com" } }]);
    const form = await simulator
      .send(get(contacts, { method: "POST", body: new URLSearchParams({ a: "1" }) }))
      .catch((error) => error);
    expect(form).toBeInstanceOf(SyntaxError);
    expect(simulator.requests.at(-1)?.form().get("a")).toBe("1");
    expect(() => simulator.assertNoUnexpected()).toThrow(`The handler of POST ${contacts} threw SyntaxError`);
  });

  test("prefers a route without parameters, and the last thing said about a route", async () => {
    const simulator = new ProviderSimulator()
      .on(`GET ${contacts}/:id`, answer.text("one contact"))
      .on(`GET ${contacts}/search`, answer.text("nothing yet"))
      .on(`GET ${contacts}/search`, answer.text("a search"));
    expect((await simulator.send(get(`${contacts}/search`))).text()).toBe("a search");
    expect((await simulator.send(get(`${contacts}/7`))).text()).toBe("one contact");
  });

  test("a request that no route answers fails, and is told at the end of the test", async () => {
    const simulator = new ProviderSimulator().on(`GET ${contacts}/:id`, answer.status(204));
    expect(() => simulator.assertNoUnexpected()).not.toThrow();
    const others = [
      get(contacts),
      get(`${contacts}/`),
      get(`${contacts}/1/notes`),
      get(`${contacts}/1`, { method: "DELETE" }),
      get("https://api.other.example/contacts/1"),
    ];
    for (const request of others) await expect(simulator.send(request)).rejects.toThrow("No route of the simulator");
    expect(() => simulator.assertNoUnexpected()).toThrow("DELETE https://api.crm.example/contacts/1");
    expect(simulator.requests).toHaveLength(others.length);
  });

  test("a route that cannot be read, or has no answer, is refused", () => {
    const simulator = new ProviderSimulator();
    for (const route of ["/contacts", "GET /contacts", "get https://a.example/", "GET https://a.example/?q=1"])
      expect(() => simulator.on(route, answer.status(200))).toThrow("A route reads like");
    expect(() => simulator.on(`GET ${contacts}`)).toThrow("needs an answer");
  });

  test("refuses what a real client refuses, before anything arrives", async () => {
    const simulator = new ProviderSimulator({ allowedOrigins: ["http://127.0.0.1:4000"] });
    simulator.on("GET http://127.0.0.1:4000/", answer.status(204));
    for (const url of [
      "http://api.crm.example/",
      "https://10.0.0.1/",
      "https://ann:pw@api.crm.example/",
      "ftp://a.example/",
    ])
      await expect(simulator.send(get(url))).rejects.toThrow(AddressRefused);
    await expect(simulator.send(get("nowhere"))).rejects.toThrow("is not a URL");
    await expect(simulator.send(get(contacts, { body: "a body" }))).rejects.toThrow("cannot go with GET");
    await expect(simulator.send(get(contacts, { headers: { "x-mark": "a\r\nb: c" } }))).rejects.toThrow("x-mark");
    await expect(simulator.send(get(contacts, { headers: { host: "a.example" } }))).rejects.toThrow("client itself");
    expect(simulator.requests).toEqual([]);
    expect((await simulator.send(get("http://127.0.0.1:4000/"))).status).toBe(204);
  });

  test("a limit says when to come back, in seconds or as a date", async () => {
    const date = new Date("2026-05-01T10:00:00.000Z");
    const simulator = new ProviderSimulator().on(
      `GET ${contacts}`,
      answer.limited(2),
      answer.limited(date),
      answer.limited(),
    );
    const said = [];
    for (let index = 0; index < 3; index += 1) {
      const { status, headers } = await simulator.send(get());
      said.push([status, headers.get("retry-after")]);
    }
    expect(said).toEqual([
      [429, "2"],
      [429, "Fri, 01 May 2026 10:00:00 GMT"],
      [429, null],
    ]);
  });

  test("garbage claims to be JSON and is not; too much is cut off", async () => {
    const simulator = new ProviderSimulator().on(`GET ${contacts}`, answer.garbage(), answer.text("x".repeat(1001)));
    const garbage = await simulator.send(get());
    expect(garbage.headers.get("content-type")).toBe("application/json");
    expect(() => garbage.json()).toThrow(ProviderAnsweredGarbage);
    await expect(simulator.send(get(contacts, { maxBytes: 1000 }))).rejects.toThrow(ProviderAnsweredGarbage);
  });

  test("a redirect is handed on", async () => {
    const simulator = new ProviderSimulator().on(`GET ${contacts}`, answer.redirect("https://elsewhere.example/"));
    const { status, headers } = await simulator.send(get());
    expect([status, headers.get("location")]).toEqual([302, "https://elsewhere.example/"]);
  });

  test("an answer can be lost after the provider has done its work", async () => {
    const made: unknown[] = [];
    const simulator = new ProviderSimulator().on(`POST ${contacts}`, (request) => {
      made.push(request.json());
      return answer.unreachable();
    });
    const sent = simulator.send(get(contacts, { method: "POST", body: "{}" }));
    await expect(sent).rejects.toThrow(ProviderUnreachable);
    expect(made).toHaveLength(1);
  });

  test("a request that hangs ends when its time is over, by the test's clock", async () => {
    const clock = fixedClock();
    const simulator = new ProviderSimulator({ clock })
      .on(`GET ${contacts}`, answer.hang())
      .on(`GET ${contacts}/later`, async () => answer.hang());
    for (const url of [contacts, `${contacts}/later`]) {
      const given = simulator.send(get(url, { timeoutMs: 5_000 })).catch((error: unknown) => error);
      await clock.advance(4_999);
      expect(clock.sleeping).toBe(1);
      await clock.advance(1);
      expect(await given).toEqual(new ProviderTimedOut({ host: "api.crm.example", timeoutMs: 5_000 }));
      expect(clock.sleeping).toBe(0);
    }
  });

  test("a request that hangs ends when its caller gives up, with the caller's reason", async () => {
    const clock = fixedClock();
    const simulator = new ProviderSimulator({ clock }).on(`GET ${contacts}`, answer.hang());
    const caller = new AbortController();
    const given = simulator.send(get(contacts, { signal: caller.signal })).catch((error: unknown) => error);
    await simulator.untilRequested(1);
    const reason = new Error("no longer needed");
    caller.abort(reason);
    expect(await given).toBe(reason);
    expect(clock.sleeping).toBe(0);
    await expect(simulator.send(get(contacts, { signal: caller.signal }))).rejects.toBe(reason);
    expect(simulator.requests).toHaveLength(1);
  });

  test("an answer that is there at once leaves no trace on the clock, a slow one does while it takes", async () => {
    const clock = fixedClock();
    let finish: () => void = () => {};
    const simulator = new ProviderSimulator({ clock })
      .on(`GET ${contacts}`, answer.status(204))
      .on(`GET ${contacts}/slow`, async () => {
        await new Promise<void>((resolve) => {
          finish = resolve;
        });
        return answer.status(204);
      });
    const quick = simulator.send(get());
    expect(clock.sleeping).toBe(0);
    await quick;
    const slow = simulator.send(get(`${contacts}/slow`));
    await clock.untilSleeping();
    finish();
    expect((await slow).status).toBe(204);
    expect(clock.sleeping).toBe(0);
  });

  test("a test can wait until requests have arrived", async () => {
    const simulator = new ProviderSimulator().on(`GET ${contacts}`, answer.status(204));
    const both = simulator.untilRequested(2).then(() => "both");
    await simulator.send(get());
    expect(await Promise.race([both, Promise.resolve("one")])).toBe("one");
    await simulator.send(get());
    expect(await both).toBe("both");
    await simulator.untilRequested(2);
  });
});

describe("a recorded request", () => {
  test("gives what was sent, and shows no credential however it is printed", async () => {
    const simulator = new ProviderSimulator();
    const requests: HttpRequest[] = [
      get(`${contacts}?limit=5&api_key=canary-1`, {
        headers: { authorization: "Bearer canary-2", "x-api-key": "canary-3", accept: "application/json" },
      }),
      get("https://auth.crm.example/token", {
        method: "POST",
        headers: { "content-type": "application/x-www-form-urlencoded" },
        body: "grant_type=refresh_token&refresh_token=canary-4&client_secret=canary-5&code_verifier=canary-6",
      }),
      get(contacts, { method: "POST", body: '{"email":"ann@example.com","nested":[{"accessToken":"canary-7"}]}' }),
      get(contacts, { method: "POST", body: new TextEncoder().encode("password: canary-8") }),
      get(contacts, { method: "POST", body: new URLSearchParams({ code: "canary-9", state: "open" }) }),
    ];
    for (const request of requests) await simulator.send(request).catch(() => undefined);

    expect(simulator.requests.map((each) => each.headers.get("authorization"))[0]).toBe("Bearer canary-2");
    expect(simulator.requests[0]?.query.get("api_key")).toBe("canary-1");
    expect(simulator.requests[1]?.form().get("refresh_token")).toBe("canary-4");
    expect(simulator.requests[3]?.text()).toBe("password: canary-8");

    const printed = [
      ...simulator.requests.map(String),
      inspect(simulator.requests, { depth: 9, showHidden: true }),
      JSON.stringify(simulator.requests),
      String(await Promise.reject(failed(() => simulator.assertNoUnexpected())).catch((error) => error)),
      failed(() => expect(simulator.requests[0]).toEqual(simulator.requests[1])).message,
    ];
    expect(printed.filter((text) => text.includes("canary"))).toEqual([]);
    expect(printed[0]).toContain("GET https://api.crm.example/contacts?limit=5&api_key=[redacted]");
    expect(printed[0]).toContain("accept: application/json");
    expect(printed[1]).toContain("grant_type=refresh_token&refresh_token=[redacted]");
    expect(printed[2]).toContain('{"email":"ann@example.com","nested":[{"accessToken":"[redacted]"}]}');
    expect(printed[3]).toContain("a body of 18 characters");
  });
});

function failed(act: () => void): Error {
  try {
    act();
  } catch (error) {
    return error as Error;
  }
  throw new Error("nothing was thrown");
}
