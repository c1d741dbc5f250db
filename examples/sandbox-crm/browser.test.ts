import { afterEach, beforeEach, expect, it } from "vitest";
import { WalkFailed, walkAuthorization } from "./browser.ts";
import { type LoopbackServer, listenOnLoopback, readText } from "./loopback-server.ts";

/** What the pages were asked for, in order: `GET /start`, `POST /form a=1`. */
let visits: string[];
let cookies: (string | undefined)[];
let site: LoopbackServer;
let pages: Record<string, { status?: number; headers?: Record<string, string | string[]>; html?: string }>;

beforeEach(async () => {
  visits = [];
  cookies = [];
  site = await listenOnLoopback();
  site.serve(async (request, response) => {
    const body = await readText(request);
    visits.push([request.method, request.url, body].filter((part) => part !== "").join(" "));
    cookies.push(request.headers.cookie);
    const page = pages[new URL(request.url!, site.origin).pathname] ?? { status: 404 };
    response.writeHead(page.status ?? 200, page.headers).end(page.html ?? "");
  });
});
afterEach(() => site.close());

const walk = (options = {}) => walkAuthorization(`${site.origin}/start`, options);
const redirect = (location: string, status = 302) => ({ status, headers: { location } });

it("stops at the redirect it was told to stop at, without fetching it", async () => {
  pages = { "/start": redirect("http://127.0.0.1:1/callback?code=7") };
  expect((await walk({ stopAt: "http://127.0.0.1:1/callback" })).href).toBe("http://127.0.0.1:1/callback?code=7");
  expect(visits).toEqual(["GET /start"]);
});

it("walks to the last page when it has no place to stop", async () => {
  pages = { "/start": redirect("/middle"), "/middle": redirect("/end?done=1", 303), "/end": { html: "Thank you" } };
  expect((await walk()).href).toBe(`${site.origin}/end?done=1`);
  expect(visits).toEqual(["GET /start", "GET /middle", "GET /end?done=1"]);
});

it("submits a form with what the page filled in, what it was told to type, and the first button", async () => {
  pages = {
    "/start": {
      html: `<form action="/form?step=1" method="post"><input type="hidden" name="token" value="a&amp;b">
        <input name="account" value="ann"><button name="do" value="allow">Yes</button><button name="do" value="deny">No</button></form>`,
    },
    "/form": redirect("/end", 303),
    "/end": {},
  };
  await walk({ fill: { account: "ben" } });
  expect(visits).toEqual(["GET /start", "POST /form?step=1 token=a%26b&account=ben&do=allow", "GET /end"]);
});

it("presses the button it was told to press", async () => {
  pages = {
    "/start": {
      html: `<form action="/end"><button name="do" value="allow">Yes</button><button name="do" value="deny">No</button></form>`,
    },
    "/end": {},
  };
  await walk({ press: "deny" });
  expect(visits).toEqual(["GET /start", "GET /end?do=deny"]);
});

it("repeats a submission where the redirect says so", async () => {
  pages = {
    "/start": { html: `<form action="/form" method="post"><input name="a" value="1"></form>` },
    "/form": redirect("/moved", 307),
    "/moved": {},
  };
  await walk();
  expect(visits.slice(1)).toEqual(["POST /form a=1", "POST /moved a=1"]);
});

it("keeps cookies, sends them to the paths they are for, and forgets those that are taken back", async () => {
  const set = (...cookie: string[]) => ({ "set-cookie": cookie });
  pages = {
    "/start": { status: 302, headers: { location: "/a/one", ...set("all=1; Path=/", "a=2; Path=/a; HttpOnly") } },
    "/a/one": { status: 302, headers: { location: "/ab", ...set("all=; Path=/; Max-Age=0") } },
    "/ab": redirect("/a/two"),
    "/a/two": {},
  };
  await walk();
  expect(cookies).toEqual([undefined, "all=1; a=2", undefined, "a=2"]);
});

it("says where the walk ended when a page answers with an error", async () => {
  pages = { "/start": redirect("/broken"), "/broken": { status: 500, html: "Out of order" } };
  const failed = await walk().catch((error: unknown) => error);
  expect(failed).toBeInstanceOf(WalkFailed);
  expect(failed).toMatchObject({ status: 500, message: `${site.origin}/broken answered 500: Out of order` });
});

it("gives up on a walk that goes in circles, and on one that ends before its stop", async () => {
  pages = { "/start": redirect("/start") };
  await expect(walk()).rejects.toThrow("more than 20 pages");
  pages = { "/start": { html: "Nothing to see" } };
  await expect(walk({ stopAt: "http://127.0.0.1:1/callback" })).rejects.toThrow("no redirect to");
});
