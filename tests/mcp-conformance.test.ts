import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import path from "node:path";
import process from "node:process";
import { text } from "node:stream/consumers";
import { afterAll, expect, test } from "vitest";
import { callEverything } from "./mcp/conformance-client.ts";
import { conformanceServer } from "./mcp/conformance-server.ts";
import { type NotOffered, notOfferedByClient, notOfferedByServer, scenariosOf } from "./mcp/not-offered.ts";

const suite = createRequire(import.meta.url).resolve("@modelcontextprotocol/conformance/dist/index.js");
const folder = mkdtempSync(path.join(tmpdir(), "armature-mcp-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Runs the protocol's own suite. It fails for what is not expected to fail, and for what is and does not. */
async function conformance(
  side: "server" | "client",
  notOffered: readonly NotOffered[],
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<{ readonly code: number; readonly output: string }> {
  const baseline = path.join(folder, `${side}.yml`);
  writeFileSync(
    baseline,
    `${side}:\n${scenariosOf(notOffered)
      .map((name) => `  - "${name}"\n`)
      .join("")}`,
  );
  const given = [suite, side, ...args, "--expected-failures", baseline, "--output-dir", path.join(folder, side)];
  // Into a file: the suite does not wait for a pipe before it exits.
  const log = path.join(folder, `${side}.log`);
  const output = openSync(log, "w");
  const running = spawn(process.execPath, given, {
    stdio: ["ignore", output, output],
    env: { ...process.env, NO_COLOR: "1", ...env },
  });
  const [code] = await once(running, "exit");
  closeSync(output);
  return { code: Number(code), output: readFileSync(log, "utf8") };
}

/** The scenarios that passed, of the summary. */
function passedIn(output: string): string[] {
  return [...output.matchAll(/^✓ ([^:\n]+): [1-9]\d* passed, 0 failed/gmu)].map(([, name]) => name!);
}

test("our MCP server passes the protocol's suite of 2026-07-28 for what it offers", async () => {
  const server = await conformanceServer();
  const { code, output } = await conformance("server", notOfferedByServer, [
    ...["--url", server.url, "--requirements", "2026-07-28"],
  ]).finally(() => server.close());
  expect(code, output.slice(-4_000)).toBe(0);
  expect(passedIn(output)).toEqual(
    expect.arrayContaining([
      ...["tools-list", "tools-call-simple-text", "tools-call-error", "server-sse-multiple-streams"],
      ...["dns-rebinding-protection", "http-header-validation", "input-required-result-unsupported-methods"],
    ]),
  );
}, 90_000);

test("our MCP client passes the protocol's suite for what it offers", async () => {
  const client = createServer(async (request, response) => {
    const { url, context } = JSON.parse(await text(request)) as { readonly url: string; readonly context: unknown };
    const status = await callEverything(url, context).then(
      () => 200,
      () => 500,
    );
    response.writeHead(status).end();
  });
  await new Promise<void>((resolve) => client.listen(0, "127.0.0.1", resolve));
  const { port } = client.address() as { readonly port: number };
  const command = `"${process.execPath}" "${path.join(import.meta.dirname, "mcp/conformance-relay.mjs")}"`;
  const { code, output } = await conformance(
    "client",
    notOfferedByClient,
    ["--command", command, "--suite", "all", "--timeout", "60000"],
    { CONFORMANCE_CLIENT: `http://127.0.0.1:${port}` },
  );
  client.closeAllConnections();
  client.close();
  expect(code, output.slice(-6_000)).toBe(0);
  expect(passedIn(output)).toEqual(
    expect.arrayContaining([
      ...["initialize", "tools_call", "request-metadata", "http-standard-headers", "http-custom-headers"],
      ...["http-invalid-tool-headers", "json-schema-ref-no-deref", "json-schema-2020-12-preservation"],
    ]),
  );
}, 90_000);

test("what is not offered stands in the guide, with the reason", () => {
  const guide = readFileSync(path.join(import.meta.dirname, "../docs/guides/mcp.md"), "utf8");
  for (const { what, why } of [...notOfferedByServer, ...notOfferedByClient]) {
    expect(guide).toContain(what);
    expect(guide.replaceAll(/\s+/g, " ")).toContain(why);
  }
});
