import { AuthorizationInvalid, AuthorizationRefused, InvalidInput, ProviderUnreachable } from "@armature/core";
import { afterEach, describe, expect, test } from "vitest";
import type { HttpApp } from "./http-exchange.ts";
import { startTestServer, type TestServer } from "./test-server.ts";

let server: TestServer;
afterEach(() => server.close());

async function startWith(oauthCallback: HttpApp["oauthCallback"]): Promise<void> {
  server = await startTestServer({ wrap: (app) => ({ ...app, oauthCallback }) });
}

const callback = (query: string, init = {}) => server.call(`/oauth/callback?${query}`, { key: null, ...init });

describe("the address that providers send the browser back to", () => {
  test("completes the authorization with what the provider added, and says so", async () => {
    let seen: URLSearchParams | undefined;
    await startWith(async (parameters) => {
      seen = parameters;
      return { connectorId: "con_1" };
    });
    const { status, text, headers } = await callback("state=s%2B1&code=c+1&iss=https%3A%2F%2Fas.example");
    expect(Object.fromEntries(seen!)).toEqual({ state: "s+1", code: "c 1", iss: "https://as.example" });
    expect(status).toBe(200);
    expect(headers.get("content-type")).toBe("text/html; charset=utf-8");
    expect(text).toContain("<h1>Connected</h1>");
  });

  test("sends the browser on to the host's page where there is one", async () => {
    await startWith(async () => ({
      connectorId: "con_1",
      returnTo: "https://app.example/done?a=1&connectorId=con_1&status=connected",
    }));
    const { status, headers, text } = await callback("state=s&code=c");
    expect([status, text]).toEqual([303, ""]);
    expect(headers.get("location")).toBe("https://app.example/done?a=1&connectorId=con_1&status=connected");
    expect(headers.get("referrer-policy")).toBe("no-referrer");
  });

  test.each([
    [new AuthorizationInvalid({}), 403, "is unknown, has expired, or was used before"],
    [new AuthorizationRefused({ provider: "crm", error: "canary-7f3" }), 409, "The access was not granted."],
    [new ProviderUnreachable({ host: "crm.example", reason: "canary-7f3" }), 503, "no answer that can be used"],
    [new InvalidInput({ subject: "canary-7f3", issues: [] }), 400, "not one that an authorization ends at"],
    [new Error("canary-7f3"), 500, "Something went wrong on our side."],
  ])(
    "shows a person why it did not work out, and nothing that stood in the address",
    async (error, status, sentence) => {
      await startWith(() => Promise.reject(error));
      const answer = await callback("state=canary-7f3&error=%3Cscript%3Ecanary-7f3%3C%2Fscript%3E");
      expect(answer.status).toBe(status);
      expect(answer.headers.get("content-type")).toBe("text/html; charset=utf-8");
      expect(answer.text).toContain("<h1>Not connected</h1>");
      expect(answer.text).toContain(sentence);
      expect(answer.text).not.toMatch(/canary|<script/);
    },
  );

  test("a forged state is refused by the app itself", async () => {
    server = await startTestServer();
    const answer = await callback("state=forged&code=c");
    expect([answer.status, answer.headers.get("content-type")]).toEqual([403, "text/html; charset=utf-8"]);
    expect((await callback("code=c")).status).toBe(400);
  });

  test("a parameter that is there twice is refused before anything is looked at", async () => {
    let asked = 0;
    await startWith(async () => {
      asked += 1;
      return { connectorId: "con_1" };
    });
    expect((await callback("state=s&code=c&state=t")).status).toBe(400);
    expect(asked).toBe(0);
  });

  test("nothing runs, loads or frames on the page", async () => {
    await startWith(async () => ({ connectorId: "con_1" }));
    const { headers, text } = await callback("state=s&code=c");
    const policy = headers.get("content-security-policy")!;
    expect(policy).toMatch(/^default-src 'none'; style-src 'sha256-[A-Za-z0-9+/=]+'; /);
    for (const directive of ["base-uri", "form-action", "frame-ancestors"])
      expect(policy).toContain(`${directive} 'none'`);
    const style = /<style>(.*)<\/style>/.exec(text)![1]!;
    const digest = Buffer.from(await crypto.subtle.digest("SHA-256", Buffer.from(style))).toString("base64");
    expect(policy).toContain(`'sha256-${digest}'`);
    expect(headers.get("cache-control")).toBe("no-store");
  });

  test("a client's request id on the page cannot become markup", async () => {
    await startWith(() => Promise.reject(new AuthorizationInvalid({})));
    const { text } = await callback("state=s", { headers: { "x-request-id": "<img/src=x>" } });
    expect(text).toContain("Reference: &#60;img/src=x&#62;");
  });

  test("a look with HEAD uses nothing up", async () => {
    let asked = 0;
    await startWith(async () => {
      asked += 1;
      return { connectorId: "con_1" };
    });
    expect((await callback("state=s&code=c", { method: "HEAD" })).status).toBe(405);
    expect(asked).toBe(0);
  });

  test("the log has neither the code nor the state", async () => {
    await startWith(() => Promise.reject(new AuthorizationInvalid({})));
    await callback("state=canary-state&code=canary-code");
    expect(server.logger.entries.some(({ fields }) => fields["operation"] === "server.oauthCallback")).toBe(true);
    expect(server.logger.text()).not.toContain("canary");
  });
});
