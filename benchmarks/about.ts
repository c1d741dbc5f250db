import { cpus, totalmem } from "node:os";
import { createClient } from "@redis/client";
import { Client } from "pg";
import { redisUrl } from "../packages/adapter-redis/src/fresh-redis.ts";
import type { Report } from "./rows.ts";

/** When, where and on what it was measured. */
export async function about(quick: boolean): Promise<Report["about"]> {
  const [cpu] = cpus();
  const machine = `${cpus().length} × ${cpu?.model.trim() ?? "CPU"}, ${Math.round(totalmem() / 2 ** 30)} GB, ${process.platform}`;
  const versions: Record<string, string> = { Node: process.versions.node };
  const [postgres, redis] = await Promise.all([postgresVersion(), redisVersion()]);
  if (postgres !== undefined) versions["PostgreSQL"] = postgres;
  if (redis !== undefined) versions["Redis"] = redis;
  return { date: new Date().toISOString(), quick, machine, versions };
}

// What runs without a server is measured without one too.
async function postgresVersion(): Promise<string | undefined> {
  const connectionString = process.env["DATABASE_URL"] ?? "postgres://postgres@127.0.0.1:5432/test";
  const client = new Client({ connectionString, connectionTimeoutMillis: 2_000 });
  try {
    await client.connect();
    const { rows } = await client.query("SHOW server_version");
    await client.end();
    return String(rows[0].server_version).split(" ")[0];
  } catch {
    return undefined;
  }
}

async function redisVersion(): Promise<string | undefined> {
  const client = createClient({ url: redisUrl, socket: { connectTimeout: 2_000, reconnectStrategy: false } });
  client.on("error", () => undefined);
  try {
    await client.connect();
    const info = await client.info("server");
    await client.close();
    return /redis_version:(\S+)/.exec(info)?.[1];
  } catch {
    return undefined;
  }
}
