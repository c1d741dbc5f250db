import { createHash, randomBytes } from "node:crypto";
import express, { type ErrorRequestHandler, type Request } from "express";
import { Client, type Pool } from "pg";
import { ZodError } from "zod";
import { floorStore } from "../floor-store.ts";
import type { ServingSetting } from "./serving.ts";
import type { Answering } from "./serving-process.ts";

interface Caller {
  readonly tenant: string;
  readonly actor: string;
}

/** As long as Armature believes a key that worked. */
const BELIEVED_MS = 2_000;
const KEY = { name: "key", text: "SELECT tenant, actor FROM floor.api_keys WHERE hash = $1" };

/** The same by hand: Express, a key that is looked up, zod, and the floor's store. */
export async function floorServer(setting: ServingSetting): Promise<Answering> {
  const store = floorStore(setting, setting.connections);
  const key = `key_${randomBytes(24).toString("base64url")}`;
  const owner = new Client({ connectionString: setting.url });
  await owner.connect();
  await owner.query("INSERT INTO floor.api_keys VALUES ($1, 'acme', 'load')", [hashOf(key)]);
  await owner.end();

  const callerOf = callers(store.pool);
  const web = express().disable("x-powered-by").use(express.json());
  web.post("/counters/:counterId/count", async (request, response) => {
    const caller = await callerOf(request);
    if (caller === undefined) return void response.status(401).json({ title: "Unauthenticated" });
    const { counterId } = request.params;
    response.json(await store.count(caller.tenant, caller.actor, { ...request.body, counterId }));
  });
  const failed: ErrorRequestHandler = (error, _request, response, _next) => {
    response.status(error instanceof ZodError ? 400 : 500).json({ title: "Failed" });
  };
  return { listener: web.use(failed), key, close: () => store.pool.end() };
}

function callers(pool: Pool): (request: Request) => Promise<Caller | undefined> {
  const believed = new Map<string, { readonly caller: Caller; readonly until: number }>();
  return async (request) => {
    const key = /^Bearer (.+)$/.exec(request.get("authorization") ?? "")?.[1];
    if (key === undefined) return undefined;
    const hash = hashOf(key);
    const known = believed.get(hash);
    if (known !== undefined && known.until > performance.now()) return known.caller;
    const { rows } = await pool.query({ ...KEY, values: [hash] });
    const [caller] = rows as Caller[];
    if (caller !== undefined) believed.set(hash, { caller, until: performance.now() + BELIEVED_MS });
    return caller;
  };
}

const hashOf = (key: string) => createHash("sha256").update(key).digest("hex");
