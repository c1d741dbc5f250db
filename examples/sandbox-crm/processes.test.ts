import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { afterEach, expect, it } from "vitest";
import { z } from "zod";
import { redirectUri, TestClient } from "./test-client.ts";

const stops: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  await Promise.all(stops.splice(0).map((stop) => stop()));
});

/** Starts one of the servers as its own process, as the README says, and waits for its line. */
async function start(file: string, ...flags: string[]) {
  const path = new URL(file, import.meta.url).pathname;
  const child = spawn(process.execPath, ["--conditions=@armature/source", path, ...flags], {
    stdio: ["ignore", "pipe", "pipe", "ipc"],
  });
  const exited = once(child, "exit") as Promise<[code: number | null]>;
  stops.push(async () => {
    child.kill("SIGKILL");
    await exited;
  });
  let complaint = "";
  child.stderr!.on("data", (chunk) => {
    complaint += chunk;
  });
  const [line] = await Promise.race([
    once(createInterface(child.stdout!), "line"),
    exited.then(([code]) => Promise.reject(new Error(`${file} exited with ${code}: ${complaint}`))),
  ]);
  return { child, exited, origin: z.object({ ready: z.url() }).parse(JSON.parse(line)).ready };
}

it("runs as two processes that trust each other and print one line when they are ready", async () => {
  const authorizationServer = await start("./authorization-server.ts", "--port", "0", "--redirect-uri", redirectUri);
  const crm = await start("./crm-server.ts", "--authorization-server", authorizationServer.origin, "--contacts", "3");

  const { access_token: token } = await (await TestClient.for(authorizationServer)).authorize();
  const page = await fetch(new URL("/contacts", crm.origin), { headers: { authorization: `Bearer ${token}` } });
  expect(await page.json()).toMatchObject({ contacts: [{}, {}, {}], next: null });
});

it.each(["SIGTERM", "SIGINT"] as const)("stops cleanly on %s", async (signal) => {
  const { child, exited } = await start("./authorization-server.ts");
  child.kill(signal);
  expect(await exited).toEqual([0, null]);
});

it("stops when the process that started it goes away", async () => {
  const { child, exited } = await start("./authorization-server.ts");
  child.disconnect();
  expect(await exited).toEqual([0, null]);
});

it("does not start with a setting that is wrong, and names it", async () => {
  await expect(start("./authorization-server.ts", "--port", "many")).rejects.toThrow(/exited with 1: .*port/s);
  await expect(start("./crm-server.ts")).rejects.toThrow(/exited with 1: .*authorizationServer/s);
});
