// A remote agent in TypeScript: `API_URL=… AGENT_URL=… PORT=… node agent.ts`. What each answer is stands in
// docs/guides/remote-agents.md; agent.py does the same.
import { once } from "node:events";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import process from "node:process";
import express, { type Request, type Response } from "express";
import { createRemoteJWKSet, jwtVerify } from "jose";
import { z } from "zod";

interface Settings {
  /** The API that sends us runs. Its word counts and nobody else's. */
  readonly apiUrl: string;
  /** Where we are: tokens have to be meant for us. */
  readonly url: string;
}

interface Run {
  /** Number of the first event: behind those that an earlier life of ours has sent. */
  readonly first: number;
  readonly events: { readonly type: string; readonly data: object }[];
  readonly stop: AbortController;
  asked: string;
  token: string;
  done: boolean;
  wake: PromiseWithResolvers<void>;
}

const sent = z.object({
  messages: z.array(z.object({ role: z.string(), content: z.array(z.object({ type: z.string(), text: z.string() })) })),
});
const contacts = z.array(z.object({ name: z.string() }));
const HEARTBEAT_MS = 10_000;

/** The work itself: what it yields is told. */
async function* work(run: Run, { apiUrl }: Settings): AsyncGenerator<{ type: string; data: object }> {
  const name = run.asked.replace(/^Find /, "");
  yield { type: "message", data: { text: `Looking for ${name}.` } };
  const response = await fetch(`${apiUrl}/contacts?name=${encodeURIComponent(name)}`, {
    headers: { authorization: `Bearer ${run.token}` },
    signal: run.stop.signal,
  });
  yield { type: "usage", data: { steps: 1, inputTokens: 40, outputTokens: 2 } };
  if (!response.ok) {
    const { code } = z.object({ code: z.string() }).parse(await response.json());
    yield { type: "failed", data: { code: "contacts.refused", message: `The contacts cannot be read: ${code}.` } };
    return;
  }
  const found = contacts.parse(await response.json());
  const usage = { steps: 2, inputTokens: 90, outputTokens: 12 };
  yield { type: "completed", data: { text: `Found ${found.map((each) => each.name).join(", ")}.`, usage } };
}

/** Serves until `close` is called on what it gives. */
export async function startAgent(settings: Settings & { readonly port: number }): Promise<Server> {
  const runs = new Map<string, Run>();
  const keys = createRemoteJWKSet(new URL(`${settings.apiUrl}/.well-known/jwks.json`));
  const app = express().use(express.json({ limit: "20mb" }));

  /** The request's token, when it is for us and for this run. */
  const tokenOf = async (request: Request<{ id: string }>): Promise<string | undefined> => {
    const token = /^Bearer (\S+)$/.exec(request.get("authorization") ?? "")?.[1] ?? "";
    const { apiUrl: issuer, url: audience } = settings;
    const checks = {
      issuer,
      audience,
      subject: request.params.id,
      algorithms: ["EdDSA"],
      typ: "armature-principal+jwt",
    };
    return jwtVerify(token, keys, checks).then(
      () => token,
      () => undefined,
    );
  };

  app.get("/health", (_, response) => {
    response.json({ status: "up", version: "1", runs: [...runs.values()].filter(({ done }) => !done).length });
  });

  app.put("/runs/:id", async (request: Request<{ id: string }>, response: Response) => {
    const token = await tokenOf(request);
    if (token === undefined) return void response.status(401).json({ code: "unauthenticated" });
    const parsed = sent.safeParse(request.body);
    if (!parsed.success) return void response.status(422).json({ code: "invalid" });
    const seen = Number(request.get("last-event-id") ?? 0);
    let run = runs.get(request.params.id);
    if (run === undefined) {
      const asked = parsed.data.messages.at(-1)?.content[0]?.text ?? "";
      const [stop, wake] = [new AbortController(), Promise.withResolvers<void>()];
      run = { first: seen + 1, events: [], stop, asked, token, done: false, wake };
      runs.set(request.params.id, run);
      void perform(run, settings);
    }
    run.token = token;
    response.writeHead(200, { "content-type": "text/event-stream" }).flushHeaders();
    const heartbeat = setInterval(() => response.write(": at work\n\n"), HEARTBEAT_MS);
    const closed = once(response, "close").finally(() => clearInterval(heartbeat));
    for (let at = Math.max(0, seen + 1 - run.first); !response.closed; ) {
      const event = run.events[at];
      if (event !== undefined) {
        response.write(`id: ${run.first + at}\nevent: ${event.type}\ndata: ${JSON.stringify(event.data)}\n\n`);
        at += 1;
      } else if (run.done) return void response.end();
      else await Promise.race([run.wake.promise, closed]);
    }
  });

  app.post("/runs/:id/cancel", async (request: Request<{ id: string }>, response: Response) => {
    if ((await tokenOf(request)) === undefined) return void response.status(401).json({ code: "unauthenticated" });
    runs.get(request.params.id)?.stop.abort();
    response.status(204).end();
  });

  const server = app.listen(settings.port, "127.0.0.1");
  await once(server, "listening");
  return server;
}

async function perform(run: Run, settings: Settings): Promise<void> {
  const tell = (event: { type: string; data: object }) => {
    run.events.push(event);
    run.wake.resolve();
    run.wake = Promise.withResolvers();
  };
  try {
    for await (const event of work(run, settings)) tell(event);
  } catch (error) {
    const code = run.stop.signal.aborted ? "canceled" : "internal";
    tell({ type: "failed", data: { code, message: String(error) } });
  }
  run.done = true;
  run.wake.resolve();
}

if (process.argv[1] === import.meta.filename) {
  const { API_URL: apiUrl = "http://127.0.0.1:3000", AGENT_URL: url, PORT: port = "8100" } = process.env;
  const server = await startAgent({ apiUrl, url: url ?? `http://127.0.0.1:${port}`, port: Number(port) });
  console.log(`Listening on port ${(server.address() as AddressInfo).port}.`);
}
