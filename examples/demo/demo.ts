/**
 * The main job, from nothing: a tenant connects a system, calls it, is cut off in the middle of a write, and can prove
 * afterwards what happened. Every part is a process of its own; they speak HTTP. `--once` ends at the end.
 */
import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { walkAuthorization } from "@armature-examples/sandbox-crm/browser";
import { z } from "zod";
import { type Api, apiOf, Refused } from "./api.ts";
import { mergeDuplicates } from "./merge-duplicates.ts";
import { command, endAll, freePort, type Running, startAnswering, startReporting } from "./processes.ts";
import { expect, finish, Surprise, say, seen, step, stop, table } from "./report.ts";

const SERVER = fileURLToPath(new URL("../../packages/server-express/src/bin.ts", import.meta.url));
const AUTHORIZATION_SERVER = fileURLToPath(import.meta.resolve("@armature-examples/sandbox-crm/authorization-server"));
const CRM = fileURLToPath(import.meta.resolve("@armature-examples/sandbox-crm/crm-server"));
const CONFIG = fileURLToPath(new URL("armature.config.ts", import.meta.url));

const REQUESTS_PER_SECOND = 25;
const TOKEN_SECONDS = 6;

const anything = z.unknown();
const connector = z.object({ id: z.string(), status: z.string() });
const contactPage = z.object({
  result: z.object({ contacts: z.array(z.object({ id: z.string(), email: z.string() })), next: z.string().nullable() }),
});
const eventList = z.object({
  items: z.array(
    z.object({
      id: z.string(),
      time: z.string(),
      type: z.string(),
      aggregateId: z.string(),
      aggregateVersion: z.number(),
      actor: z.object({ type: z.string(), id: z.string() }),
    }),
  ),
  next: z.string().optional(),
});
const auditList = z.object({
  items: z.array(
    z.object({
      time: z.string(),
      operation: z.string(),
      outcome: z.string(),
      actor: z.object({ type: z.string(), id: z.string() }),
      onBehalfOf: z.object({ type: z.string(), id: z.string() }).optional(),
      traceId: z.string(),
    }),
  ),
  next: z.string().optional(),
});
const authorizationStats = z.object({
  tokenRequests: z.object({
    byGrantType: z.record(z.string(), z.object({ granted: z.number(), refused: z.number() })),
  }),
});

async function main(once: boolean): Promise<void> {
  const dataDir = await mkdtemp(join(tmpdir(), "armature-demo-"));
  try {
    await tellTheStory(dataDir, once);
  } finally {
    endAll();
    await rm(dataDir, { recursive: true, force: true });
  }
}

async function tellTheStory(dataDir: string, once: boolean): Promise<void> {
  step("An outside world: an authorization server, and a CRM behind it");
  const port = await freePort();
  const origin = `http://127.0.0.1:${port}`;
  const callback = `${origin}/oauth/callback`;
  const clientSecret = randomBytes(16).toString("hex");
  process.env["CRM_CLIENT_SECRET"] = clientSecret;
  const authorization = await startReporting(AUTHORIZATION_SERVER, [
    "--redirect-uri",
    callback,
    "--access-token-seconds",
    String(TOKEN_SECONDS),
  ]);
  const crm = await startReporting(CRM, [
    "--authorization-server",
    authorization.origin,
    "--requests-per-second",
    String(REQUESTS_PER_SECOND),
  ]);
  say(`oidc-provider at ${authorization.origin}: refresh tokens rotate, access tokens live ${TOKEN_SECONDS} s`);
  say(`sandbox-crm at ${crm.origin}: 2,500 contacts, ${REQUESTS_PER_SECOND} requests a second and no more`);

  const env = {
    PORT: String(port),
    HOST: "127.0.0.1",
    PUBLIC_URL: origin,
    DATA_DIR: dataDir,
    ARMATURE_KEY: randomBytes(32).toString("base64"),
    ARMATURE_CONFIG: CONFIG,
    AUTHORIZATION_SERVER: authorization.origin,
    CRM_API: crm.origin,
    CRM_REQUESTS_PER_SECOND: String(REQUESTS_PER_SECOND),
  };
  const startServer = () => startAnswering(SERVER, [], env, `${origin}/ready`);

  step("Two tenants, and an API key for each");
  const acmeKey = await command(SERVER, ["tenant", "create", "acme", "--name", "Acme", "--owner", "ann"], env);
  const globexKey = await command(SERVER, ["tenant", "create", "globex", "--name", "Globex", "--owner", "gus"], env);
  say(
    `acme: ${acmeKey.slice(0, 16)}… for ann, globex: ${globexKey.slice(0, 18)}… for gus; the data is in PGlite, in a folder`,
  );
  let server: Running = await startServer();
  say(`armature-server at ${origin}, process ${server.pid}`);
  const acme = apiOf(origin, acmeKey);

  step("Acme connects its CRM: OAuth with PKCE, walked as a browser would");
  const { url, connectorId } = await acme(
    z.object({ url: z.url(), connectorId: z.string() }),
    "POST",
    "/connectors/authorize",
    { body: { provider: "sandbox-crm" } },
  );
  const landed = await walkAuthorization(url, { fill: { account: "acme" } });
  const connectedAt = Date.now();
  expect(landed.origin === origin, `The walk ended at ${landed.origin} and not at the server.`);
  const { status } = await acme(connector, "GET", `/connectors/${connectorId}`);
  expect(status === "connected", `The connector is ${status} after the authorization.`);
  seen(`${connectorId} is connected`);

  await readContacts(acme, connectorId, crm.origin);
  await refreshOnce(acme, connectorId, authorization.origin, connectedAt);
  const killed = server;
  server = await surviveTheKill(acme, connectorId, crm.origin, server, startServer);
  const second = server;
  server = await mergeDuplicates({ acme, crm: crm.origin, server, restart: startServer });
  await showWhatHappened(acme, killed.log() + second.log() + server.log(), [
    acmeKey,
    globexKey,
    clientSecret,
    env.ARMATURE_KEY,
  ]);
  await keepApart(apiOf(origin, globexKey), connectorId);

  finish();
  if (once) {
    await server.end();
    await Promise.all([authorization.end(), crm.end()]);
    return;
  }
  console.log(
    `\nEverything still runs. Try:\n\n  curl -H 'authorization: Bearer ${acmeKey}' ${origin}/connectors\n\nCtrl-C ends it.`,
  );
  await new Promise<void>((resolve) => process.once("SIGINT", () => resolve()));
}

async function readContacts(acme: Api, connectorId: string, crm: string): Promise<void> {
  step("All contacts, through the connector");
  const ids = new Set<string>();
  const begun = performance.now();
  let pages = 0;
  let after: string | undefined;
  do {
    const { result } = await acme(contactPage, "POST", `/connectors/${connectorId}/actions/listContacts`, {
      body: { input: { limit: 50, ...(after === undefined ? {} : { after }) } },
    });
    for (const { id } of result.contacts) ids.add(id);
    after = result.next ?? undefined;
    pages += 1;
  } while (after !== undefined);
  expect(ids.size === 2500, `${ids.size} different contacts came, and 2500 should have.`);
  const limited = await tooMany(crm);
  expect(limited === 0, `The CRM had to refuse ${limited} requests: its limit was not respected.`);
  seen(
    `${ids.size} contacts on ${pages} pages in ${((performance.now() - begun) / 1000).toFixed(1)} s; the CRM's limit was never run into`,
  );
}

async function refreshOnce(acme: Api, connectorId: string, authorization: string, connectedAt: number): Promise<void> {
  step("50 calls at the moment the access token expires");
  await put(`${authorization}/simulate/access-token-seconds`, { seconds: 3600 });
  // A slow machine may have renewed it once while it was reading.
  const refreshed = (await everyEvent(acme)).findLast(({ type }) => type === "connector.credential_refreshed");
  const issuedAt = refreshed === undefined ? connectedAt : Date.parse(refreshed.time);
  const expiresAt = issuedAt + TOKEN_SECONDS * 1000;
  say(`waiting ${Math.max(0, (expiresAt - Date.now()) / 1000).toFixed(1)} s for the token's end`);
  await new Promise((resolve) => setTimeout(resolve, expiresAt - Date.now() + 50));
  const before = await refreshes(authorization);
  const calls = Array.from({ length: 50 }, () =>
    acme(contactPage, "POST", `/connectors/${connectorId}/actions/listContacts`, { body: { input: { limit: 1 } } }),
  );
  const failed = (await Promise.allSettled(calls)).filter((call) => call.status === "rejected");
  expect(failed.length === 0, `${failed.length} of 50 calls failed, the first with: ${String(failed[0]?.reason)}`);
  const made = (await refreshes(authorization)) - before;
  expect(made === 1, `${made} token requests were made.`);
  seen("50 of 50 calls succeeded");
  seen("exactly one token request was made");
}

async function surviveTheKill(
  acme: Api,
  connectorId: string,
  crm: string,
  server: Running,
  restart: () => Promise<Running>,
): Promise<Running> {
  step("The server is killed with -9 in the middle of writes, and started again");
  const accounts = Array.from({ length: 40 }, (_, index) => `robot-${index + 1}`);
  const create = (id: string) =>
    acme(anything, "POST", "/service-accounts", {
      body: { serviceAccountId: id, name: `Robot ${id}`, roles: [] },
      idempotencyKey: `create-${id}`,
    });
  const addContact = () =>
    acme(
      z.object({ result: z.object({ id: z.string() }) }),
      "POST",
      `/connectors/${connectorId}/actions/createContact`,
      {
        body: { input: { firstName: "Ada", lastName: "Lovelace", email: "ada@acme.example" } },
        idempotencyKey: "create-ada",
        timeoutMs: 4_000,
      },
    );
  const createdBefore = await createdContacts(crm);
  // The CRM stores the contact and then says nothing: nobody on our side can know whether it happened.
  await put(`${crm}/simulate/fault`, { fault: { kind: "hang", when: "after" }, method: "POST", times: 1 });
  const lost = addContact().then(
    () => "answered",
    () => "cut off",
  );
  await fetch(`${crm}/simulate/held?count=1`);
  const acknowledged = new Set<string>();
  const writes = accounts.map((id) =>
    create(id).then(
      () => acknowledged.add(id),
      () => undefined,
    ),
  );
  // As soon as some are acknowledged and others are not.
  await Promise.race([Promise.all(writes.slice(0, 5)), Promise.allSettled(writes)]);
  await server.end("SIGKILL");
  await Promise.all(writes);
  expect((await lost) === "cut off", "The write to the CRM was answered although the CRM was silent.");
  say(
    `killed process ${server.pid}: ${acknowledged.size} of 40 commands were acknowledged, one call to the CRM was in flight`,
  );
  await fetch(`${crm}/simulate/fault`, { method: "DELETE" });

  const again = await restart();
  say(`started again as process ${again.pid}, on the same folder; every write is sent once more with its key`);
  const present = new Set(await allServiceAccounts(acme));
  const missing = [...acknowledged].filter((id) => !present.has(id));
  expect(missing.length === 0, `Acknowledged and lost: ${missing.join(", ")}.`);
  seen(`nothing lost: all ${acknowledged.size} acknowledged commands are there`);
  await Promise.all(accounts.map((id) => retry(() => create(id))));
  const listed = await allServiceAccounts(acme);
  expect(
    listed.length === 40 && new Set(listed).size === 40,
    `${listed.length} service accounts exist, and 40 should.`,
  );
  const events = (await everyEvent(acme)).filter((event) => event.type === "identity.service_account_created");
  expect(events.length === 40, `${events.length} events say that a service account was created, and 40 should.`);
  seen("nothing twice: 40 commands, sent 80 times, made 40 accounts and 40 events");
  await retry(addContact);
  const made = (await createdContacts(crm)) - createdBefore;
  expect(made === 1, `The CRM made ${made} contacts of one write.`);
  seen("the write to the CRM was repeated under the same key: one contact");
  return again;
}

async function showWhatHappened(acme: Api, log: string, secrets: readonly string[]): Promise<void> {
  step("What happened: the timeline and the audit trail");
  const events = await everyEvent(acme);
  const connectors = events.filter((event) => event.type.startsWith("connector."));
  for (const type of ["connector.authorization_started", "connector.connected", "connector.credential_refreshed"])
    expect(
      connectors.some((event) => event.type === type),
      `The timeline has no ${type}.`,
    );
  table(connectors.map((event) => [event.time, event.type, `${event.actor.type}:${event.actor.id}`]));
  say(`… and ${events.length - connectors.length} events of other contexts`);
  const { items } = await acme(auditList, "GET", "/audit?limit=200");
  const calls = new Map<string, number>();
  for (const { operation, outcome, actor, onBehalfOf } of items) {
    const who = `${actor.type}:${actor.id}${onBehalfOf === undefined ? "" : ` for ${onBehalfOf.type}:${onBehalfOf.id}`}`;
    const row = `${operation}|${outcome}|${who}`;
    calls.set(row, (calls.get(row) ?? 0) + 1);
  }
  table([...calls].map(([row, count]) => [...row.split("|"), `× ${count}`]));
  expect(
    items.some((row) => row.operation === "connectors.invoke" && row.outcome === "succeeded"),
    "The audit trail has no call of the connector.",
  );
  seen("who, on whose behalf, what, and how it ended");
  const everything = await Promise.all(
    ["/audit?limit=200", "/audit/events?limit=200"].map((path) => acme(anything, "GET", path)),
  );
  const written = JSON.stringify(everything) + log;
  expect(log.length > 0, "The server has written no log.");
  expect(!secrets.some((secret) => written.includes(secret)), "A secret stands in an event, an audit row or the log.");
  seen("no key and no secret in any event, audit row or line of the log");
}

async function keepApart(globex: Api, connectorId: string): Promise<void> {
  step("Another tenant's key");
  const list = await globex(z.object({ items: z.array(anything) }), "GET", "/connectors");
  expect(list.items.length === 0, "Globex sees a connector of Acme.");
  for (const [method, path] of [
    ["GET", `/connectors/${connectorId}`],
    ["POST", `/connectors/${connectorId}/actions/listContacts`],
    ["POST", `/connectors/${connectorId}/disconnect`],
  ] as const) {
    const refusal = await globex(anything, method, path, method === "POST" ? { body: {} } : {}).catch(
      (error: unknown) => error,
    );
    expect(
      refusal instanceof Refused && refusal.status === 404,
      `${method} ${path} answered Globex with ${String(refusal)}.`,
    );
  }
  const foreign = (await everyEvent(globex)).filter(
    (event) => event.type.startsWith("connector.") || event.aggregateId.startsWith("robot-"),
  );
  expect(foreign.length === 0, "Globex sees events of Acme.");
  const rows = await globex(auditList, "GET", "/audit?limit=200");
  expect(
    rows.items.every((row) => row.actor.id !== "ann"),
    "Globex sees audit rows of Acme.",
  );
  seen("no connector, no contact, no event and no audit row of Acme");
}

async function everyEvent(api: Api) {
  const items: z.infer<typeof eventList>["items"] = [];
  let after: string | undefined;
  do {
    const page: z.infer<typeof eventList> = await api(
      eventList,
      "GET",
      `/audit/events?direction=asc&limit=200${after === undefined ? "" : `&after=${encodeURIComponent(after)}`}`,
    );
    items.push(...page.items);
    after = page.next;
  } while (after !== undefined);
  return items;
}

const serviceAccounts = z.object({ items: z.array(z.object({ serviceAccountId: z.string() })) });

async function allServiceAccounts(api: Api): Promise<string[]> {
  const { items } = await api(serviceAccounts, "GET", "/service-accounts?limit=200");
  return items.map((item) => item.serviceAccountId).filter((id) => id.startsWith("robot-"));
}

// Sends a call again, with the same key, until it is answered for good.
async function retry<T>(call: () => Promise<T>): Promise<T> {
  const giveUpAt = Date.now() + 15_000;
  for (;;) {
    try {
      return await call();
    } catch (error) {
      const passing =
        error instanceof Refused &&
        (error.code === "idempotency.in_progress" || error.status >= 500 || error.status === 429);
      if (!passing || Date.now() > giveUpAt) throw error;
      await new Promise((resolve) => setTimeout(resolve, Math.min(error.retryAfterMs ?? 500, 1000)));
    }
  }
}

async function put(url: string, body: unknown): Promise<void> {
  const response = await fetch(url, {
    method: "PUT",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  expect(response.ok, `${url} answered ${response.status}.`);
}

async function refreshes(authorization: string): Promise<number> {
  const { tokenRequests } = authorizationStats.parse(await (await fetch(`${authorization}/stats`)).json());
  const { granted = 0, refused = 0 } = tokenRequests.byGrantType["refresh_token"] ?? {};
  return granted + refused;
}

const crmStats = z.object({
  answers: z.record(z.string(), z.number()),
  accounts: z.record(z.string(), z.object({ created: z.number() })),
});

async function statsOf(crm: string) {
  return crmStats.parse(await (await fetch(`${crm}/stats`)).json());
}

async function tooMany(crm: string): Promise<number> {
  return (await statsOf(crm)).answers["429"] ?? 0;
}

async function createdContacts(crm: string): Promise<number> {
  return Object.values((await statsOf(crm)).accounts).reduce((sum, { created }) => sum + created, 0);
}

const { values } = parseArgs({ options: { once: { type: "boolean", default: false } } });
for (const signal of ["SIGTERM", "SIGHUP"] as const)
  process.once(signal, () => {
    endAll();
    process.exit(1);
  });
try {
  await main(values.once);
  console.log("\ndemo: ok");
} catch (error) {
  stop();
  console.error(
    `\ndemo: ${error instanceof Surprise ? error.message : String(error instanceof Error ? error.stack : error)}`,
  );
  process.exitCode = 1;
}
