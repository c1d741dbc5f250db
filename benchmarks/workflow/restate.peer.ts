import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import http2 from "node:http2";
import { createRequire } from "node:module";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import * as restate from "@restatedev/restate-sdk";
import * as clients from "@restatedev/restate-sdk-clients";
import { subjectOf } from "../peers.ts";
import { runsContender } from "../runs.ts";
import type { WorkflowSetting } from "./workflow.ts";

interface Sum {
  readonly value: number;
}

const HOST = "127.0.0.1";

export async function contenders(setting: WorkflowSetting) {
  const { steps } = setting;
  const adding = restate.service({
    name: "adding",
    handlers: {
      run: async (ctx: restate.Context, given: Sum) => {
        let sum = given;
        for (let done = 0; done < steps; done += 1) {
          const { value } = sum;
          sum = await ctx.run("add", async () => ({ value: value + 1 }));
        }
        return sum;
      },
    },
  });
  const endpoint = http2.createServer(
    restate.createEndpointHandler({ services: [adding], logger: () => {}, bidirectional: true }),
  );
  endpoint.listen(0, HOST);
  await once(endpoint, "listening");
  const { port } = endpoint.address() as AddressInfo;
  const server = await restateServer();
  await server.register(`http://${HOST}:${port}`);
  const client = clients.connect({ url: server.ingress }).serviceClient(adding);
  const prefix = String(port);
  return [
    runsContender(setting, {
      subject: subjectOf("@restatedev/restate-sdk"),
      note: `a server of its own, ${subjectOf("@restatedev/restate-server")}, with its own log on disk; one tenant, no audit`,
      run: async (value) => {
        const once = clients.Opts.from<Sum, Sum>({ idempotencyKey: `${prefix}-${value}` });
        return (await client.run({ value }, once)).value;
      },
      close: async () => {
        await server.close();
        endpoint.close();
      },
    }),
  ];
}

/** Restate's server, on ports and in a folder of its own. */
async function restateServer() {
  const folder = await mkdtemp(path.join(tmpdir(), "armature-bench-restate-"));
  const [node, ingress, admin] = await freePorts(3);
  const child = spawn(
    process.execPath,
    [createRequire(import.meta.url).resolve("@restatedev/restate-server/lib/index.js")],
    {
      stdio: "ignore",
      env: {
        PATH: process.env["PATH"],
        RESTATE_DISABLE_TELEMETRY: "true",
        DO_NOT_TRACK: "1",
        RESTATE_BASE_DIR: folder,
        RESTATE_BIND_IP: HOST,
        RESTATE_BIND_PORT: String(node),
        RESTATE_INGRESS__BIND_PORT: String(ingress),
        RESTATE_ADMIN__BIND_PORT: String(admin),
      },
    },
  );
  const ended = once(child, "exit");
  // It would outlive a run that fails.
  const kill = () => child.kill("SIGTERM");
  process.once("exit", kill);
  const close = async () => {
    process.off("exit", kill);
    kill();
    await ended;
    await rm(folder, { recursive: true, force: true });
  };
  const register = async (uri: string) => {
    for (let tries = 1; ; tries += 1)
      try {
        const answer = await fetch(`http://${HOST}:${admin}/deployments`, {
          method: "POST",
          headers: { "content-type": "application/json" },
          body: JSON.stringify({ uri }),
        });
        if (answer.ok) return;
        throw new Error(`Restate does not take the deployment: ${answer.status} ${await answer.text()}`);
      } catch (error) {
        if (tries === 100 || child.exitCode !== null) {
          await close();
          throw error;
        }
        await new Promise((resolve) => setTimeout(resolve, 200));
      }
  };
  return { ingress: `http://${HOST}:${ingress}`, register, close };
}

async function freePorts(count: number): Promise<readonly number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer().listen(0, HOST);
      await once(server, "listening");
      return server;
    }),
  );
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}
