import type { IncomingMessage } from "node:http";
import { parseArgs } from "node:util";
import { z } from "zod";
import { type Caller, identifyCaller, requireScope } from "./callers.ts";
import { contactChangesSchema, newContactSchema } from "./contact.ts";
import { ContactBook, type ContactBookStats } from "./contact-book.ts";
import {
  isMain,
  listenOnLoopback,
  parse,
  parseJson,
  Refusal,
  readText,
  runAsProcess,
  sendJson,
} from "./loopback-server.ts";
import { RequestLimit } from "./request-limit.ts";
import { Simulation } from "./simulation.ts";

const optionsSchema = z.strictObject({
  /** 0 takes a free one. */
  port: z.int().min(0).max(65_535).default(0),
  /** Origin of the authorization server, which is asked about every access token. */
  authorizationServer: z.url(),
  /** How the CRM itself authenticates there. */
  api: z
    .strictObject({ id: z.string().min(1), secret: z.string().min(1) })
    .default({ id: "sandbox-crm", secret: "sandbox-api-secret" }),
  /** Account by API key. */
  apiKeys: z.record(z.string().min(1), z.string().min(1)).default({ "sandbox-api-key": "ann" }),
  /** Per account. */
  requestsPerSecond: z.int().positive().default(20),
  /** How many sample contacts each account starts with. */
  contacts: z.int().min(0).max(100_000).default(2_500),
});
export type CrmServerOptions = z.input<typeof optionsSchema> & {
  /** Milliseconds since 1970; a test moves it to see the limit recover without waiting. */
  readonly now?: () => number;
};

export interface CrmServerStats {
  /** Requests to the API, by the status of their answer. */
  readonly answers: Readonly<Record<string, number>>;
  readonly accounts: Readonly<Record<string, ContactBookStats>>;
  /** Requests that a simulated fault holds right now. */
  readonly held: number;
}

export interface CrmServer {
  readonly origin: string;
  readonly port: number;
  readonly simulation: Simulation;
  stats(): CrmServerStats;
  close(): Promise<void>;
}

interface Answer {
  readonly status: number;
  readonly body: unknown;
}

const pageSchema = z.object({
  limit: z.coerce.number().int().min(1).max(100).default(50),
  after: z.string().min(1).max(100).optional(),
  email: z.email().max(200).optional(),
});
const mergeSchema = z.strictObject({ duplicateId: z.string().min(1) });
const idempotencyKeySchema = z.string().min(1).max(200).optional();

/** A small CRM behind a REST API: contacts per account, OAuth access tokens or API keys, a request limit. */
export async function startCrmServer(options: CrmServerOptions): Promise<CrmServer> {
  const { now = Date.now, ...given } = options;
  const { port, requestsPerSecond, contacts: count, apiKeys, ...settings } = optionsSchema.parse(given);
  const access = { ...settings, apiKeys: new Map(Object.entries(apiKeys)) };
  const server = await listenOnLoopback(port);
  const limit = new RequestLimit(requestsPerSecond, now);
  const simulation = new Simulation();
  const books = new Map<string, ContactBook>();
  const answers: Record<string, number> = {};

  const bookOf = (account: string): ContactBook => {
    const book = books.get(account) ?? new ContactBook({ account, count, now });
    books.set(account, book);
    return book;
  };
  const running: CrmServer = {
    origin: server.origin,
    port: server.port,
    simulation,
    stats: () => ({
      answers: { ...answers },
      accounts: Object.fromEntries([...books].map(([account, book]) => [account, book.stats()])),
      held: simulation.held,
    }),
    close: () => {
      simulation.lift();
      return server.close();
    },
  };

  server.serve(async (request, response) => {
    const url = new URL(request.url ?? "/", server.origin);
    if (request.method === "GET" && url.pathname === "/stats") return sendJson(response, 200, running.stats());
    if (await simulation.control(request, response, url)) return;
    response.once("finish", () => {
      answers[response.statusCode] = (answers[response.statusCode] ?? 0) + 1;
    });
    // Read before a fault may hold the request: what a caller has sent is done even if it leaves.
    const text = await readText(request);
    await simulation.through(
      request,
      response,
      async () => {
        const caller = await identifyCaller(request, access);
        const state = limit.take(caller.account);
        for (const [name, value] of Object.entries(state.headers)) response.setHeader(name, value);
        if (!state.allowed) throw new Refusal(429, "rate_limited", `At most ${requestsPerSecond} requests a second.`);
        return route(request, url, text, caller, bookOf(caller.account));
      },
      ({ status, body }) => sendJson(response, status, body),
    );
  });
  return running;
}

function route(request: IncomingMessage, url: URL, text: string, caller: Caller, book: ContactBook): Answer {
  const [, root, id, verb, ...more] = url.pathname.split("/");
  const shape = [request.method, root, id && "{id}", verb, ...more].filter((part) => part !== undefined).join(" ");
  switch (shape) {
    case "GET me":
      return { status: 200, body: { account: caller.account, via: caller.via, scopes: [...caller.scopes] } };
    case "GET contacts": {
      requireScope(caller, "contacts.read");
      const { limit, after, email } = parse(pageSchema, Object.fromEntries(url.searchParams));
      return { status: 200, body: book.page({ limit, ...(after && { after }), ...(email && { email }) }) };
    }
    case "POST contacts": {
      requireScope(caller, "contacts.write");
      const key = parse(idempotencyKeySchema, request.headers["idempotency-key"]);
      return { status: 201, body: book.create(parseJson(newContactSchema, text), key) };
    }
    case "GET contacts {id}":
      requireScope(caller, "contacts.read");
      return { status: 200, body: book.get(id!) };
    case "PATCH contacts {id}":
      requireScope(caller, "contacts.write");
      return { status: 200, body: book.update(id!, parseJson(contactChangesSchema, text)) };
    case "POST contacts {id} merge": {
      requireScope(caller, "contacts.write");
      const { duplicateId } = parseJson(mergeSchema, text);
      return { status: 200, body: book.merge(id!, duplicateId) };
    }
    default:
      throw new Refusal(404, "not_found", `There is no ${request.method} ${url.pathname}.`);
  }
}

if (isMain(import.meta)) {
  await runAsProcess(async () => {
    const { values } = parseArgs({
      options: {
        port: { type: "string", default: "0" },
        "authorization-server": { type: "string", default: "" },
        "requests-per-second": { type: "string", default: "20" },
        contacts: { type: "string", default: "2500" },
      },
    });
    return startCrmServer({
      port: Number(values.port),
      authorizationServer: values["authorization-server"],
      requestsPerSecond: Number(values["requests-per-second"]),
      contacts: Number(values.contacts),
    });
  });
}
