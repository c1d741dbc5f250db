import { createHash } from "node:crypto";
import {
  type Armature,
  AuthorizationInvalid,
  activity,
  apiKey as apiKeyAuth,
  basic,
  callHash,
  clientCredentials,
  command,
  connectorAction,
  createArmature,
  defineAgent,
  defineConnector,
  defineContext,
  defineContract,
  defineWorkflow,
  Forbidden,
  identity,
  NotFound,
  oauth2,
  operationTool,
  type Principal,
  type PrincipalInput,
  Unauthenticated,
  UserCreated,
} from "@armature/core";
import { recordingLogger, ScriptedModel } from "@armature/core/testing";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { withoutServer } from "../packages/adapter-postgres/src/fresh-database.ts";
import { inMemoryPlace, keyEncryptionKey, type Place, pglitePlace, postgresPlace } from "./scenarios/place.ts";

/** What exists in the tenant acme, and nowhere else. */
interface Acme {
  readonly connectorId: string;
  readonly state: string;
  readonly keyId: string;
  readonly keyHash: string;
  readonly conversationId: string;
  readonly agent: string;
  readonly letter: { readonly context: string; readonly consumer: string; readonly messageId: string };
}

/** What another tenant hears that names it: an error, an empty list, or nothing but its own. */
type Answer = "empty" | "own" | { readonly code: string };

interface Sample {
  /** An input that names what is acme's, wherever the operation takes a name. */
  readonly input: (acme: Acme) => Record<string, unknown>;
  readonly answer: Answer;
  /** Only the system may call it. */
  readonly system?: true;
}

const notFound = { code: NotFound.code };
const user = { userId: "acme-ann" };
const service = { serviceAccountId: "acme-importer" };
const account = { type: "user", id: "acme-ann" };
const acmeCall = {
  approvalId: "apr_acme",
  subject: { type: "acme.order", id: "ord_1" },
  action: "mail.send",
  arguments: { to: "Bo" },
  risk: "write",
} as const;
const acmeHash = callHash(acmeCall.action, acmeCall.arguments);
const order = { workflow: "ordering", input: { item: "Acme lamp" } };
const acmeOrder = { executionId: "acme-order" };
const ownAgent = { summary: "Rings.", instructions: "Ring." };
const acmeRun = { runId: "run_acme" };
const byConnector = ({ connectorId }: Acme) => ({ connectorId });

/** Every operation of every context. A test fails when one is missing here. */
const samples: Readonly<Record<string, Sample>> = {
  "connectors.providers": { input: () => ({}), answer: "own" },
  "connectors.list": { input: () => ({}), answer: "empty" },
  "connectors.usage": { input: byConnector, answer: "empty" },
  "connectors.get": { input: byConnector, answer: notFound },
  "connectors.authorize": {
    input: ({ connectorId }) => ({ provider: "crm", connectorId, redirectUri: "https://host.example/back" }),
    answer: notFound,
  },
  "connectors.completeAuthorization": {
    input: ({ state }) => ({ state, code: "code" }),
    answer: { code: AuthorizationInvalid.code },
  },
  "connectors.connectWithApiKey": {
    input: ({ connectorId }) => ({ provider: "crm", connectorId, apiKey: "key" }),
    answer: notFound,
  },
  "connectors.connectWithBasic": {
    input: ({ connectorId }) => ({ provider: "crm", connectorId, username: "u", password: "p" }),
    answer: notFound,
  },
  "connectors.connectWithClientCredentials": {
    input: ({ connectorId }) => ({ provider: "crm", connectorId, clientId: "c", clientSecret: "s" }),
    answer: notFound,
  },
  "connectors.disconnect": { input: byConnector, answer: notFound },
  "connectors.check": { input: byConnector, answer: notFound },
  "connectors.invoke": { input: ({ connectorId }) => ({ connectorId, action: "ask" }), answer: notFound },

  "approvals.request": { input: () => acmeCall, answer: "own" },
  "approvals.approve": { input: () => ({ approvalId: acmeCall.approvalId, hash: acmeHash }), answer: notFound },
  "approvals.edit": {
    input: () => ({ approvalId: acmeCall.approvalId, hash: acmeHash, arguments: {} }),
    answer: notFound,
  },
  "approvals.reject": { input: () => ({ approvalId: acmeCall.approvalId, reason: "No." }), answer: notFound },
  "approvals.expire": { input: () => ({ approvalId: acmeCall.approvalId }), answer: notFound },
  "approvals.get": { input: () => ({ approvalId: acmeCall.approvalId }), answer: notFound },
  "approvals.list": { input: () => ({}), answer: "empty" },

  "workflows.definitions": { input: () => ({}), answer: "own" },
  // The same name is another execution.
  "workflows.start": { input: () => ({ ...acmeOrder, ...order, input: { item: "lamp" } }), answer: "own" },
  "workflows.get": { input: () => acmeOrder, answer: notFound },
  "workflows.list": { input: () => ({}), answer: "empty" },
  "workflows.history": { input: () => acmeOrder, answer: notFound },
  "workflows.signal": { input: () => ({ ...acmeOrder, signal: "paid", payload: "by nobody" }), answer: notFound },
  "workflows.cancel": { input: () => ({ ...acmeOrder, reason: "It is not ours." }), answer: notFound },
  "workflows.retry": { input: () => acmeOrder, answer: notFound },
  "workflows.schedule": {
    input: () => ({ key: "acme-orders", ...order, recurrence: { everyMs: 86_400_000 } }),
    answer: "own",
  },
  "workflows.unschedule": { input: () => ({ key: "acme-orders" }), answer: "own" },

  "agents.list": { input: () => ({}), answer: "own" },
  "agents.run": {
    input: ({ conversationId }) => ({ agent: "helper", input: "What did they say?", conversationId }),
    answer: notFound,
  },
  "agents.get": { input: () => acmeRun, answer: notFound },
  "agents.listRuns": { input: () => ({}), answer: "empty" },
  "agents.messages": { input: ({ conversationId }) => ({ conversationId }), answer: notFound },
  "agents.follow": { input: () => acmeRun, answer: notFound },
  "agents.cancel": { input: () => ({ ...acmeRun, reason: "It is not ours." }), answer: notFound },
  "agents.describe": { input: ({ agent }) => ({ agent }), answer: notFound },
  "agents.create": { input: () => ownAgent, answer: "own" },
  "agents.update": { input: ({ agent }) => ({ agent, ...ownAgent }), answer: notFound },
  "agents.checkHealth": { input: () => ({ agent: "helper" }), answer: "own" },
  "agents.pause": { input: () => ({ agent: "helper" }), answer: "own" },
  "agents.activate": { input: () => ({ agent: "helper" }), answer: "own" },
  "agents.retire": { input: () => ({ agent: "helper" }), answer: "own" },
  "agents.setBudget": { input: () => ({ budget: "tenant", steps: 1 }), answer: "own" },
  "agents.budget": { input: () => ({ budget: "tenant" }), answer: "own" },

  "audit.export": { input: () => ({}), answer: "own" },
  "audit.exportEvents": { input: () => ({}), answer: "own" },

  "identity.createTenant": { input: () => ({ name: "Again" }), answer: { code: "already_exists" }, system: true },
  "identity.getTenant": { input: () => ({}), answer: "own" },
  "identity.renameTenant": { input: () => ({ name: "Globex Corporation" }), answer: "own" },
  "identity.suspendTenant": { input: () => ({}), answer: "own", system: true },
  "identity.resumeTenant": {
    input: () => ({}),
    answer: { code: "identity.tenant_not_suspended" },
    system: true,
  },
  "identity.createUser": { input: () => ({ ...user, name: "Namesake" }), answer: "own" },
  "identity.getUser": { input: () => user, answer: notFound },
  "identity.listUsers": { input: () => ({}), answer: "own" },
  "identity.updateUser": { input: () => ({ ...user, name: "Changed" }), answer: notFound },
  "identity.setUserRoles": { input: () => ({ ...user, roles: [] }), answer: notFound },
  "identity.disableUser": { input: () => user, answer: notFound },
  "identity.enableUser": { input: () => user, answer: notFound },
  "identity.createServiceAccount": { input: () => ({ ...service, name: "Namesake" }), answer: "own" },
  "identity.getServiceAccount": { input: () => service, answer: notFound },
  "identity.listServiceAccounts": { input: () => ({}), answer: "empty" },
  "identity.setServiceAccountRoles": { input: () => ({ ...service, roles: [] }), answer: notFound },
  "identity.disableServiceAccount": { input: () => service, answer: notFound },
  "identity.enableServiceAccount": { input: () => service, answer: notFound },
  "identity.createRole": { input: () => ({ role: "acme-admin", permissions: [] }), answer: "own" },
  "identity.updateRole": { input: () => ({ role: "acme-admin", permissions: [] }), answer: notFound },
  "identity.listRoles": { input: () => ({}), answer: "own" },
  "identity.deleteRole": { input: () => ({ role: "acme-admin" }), answer: notFound },
  "identity.createApiKey": { input: () => ({ name: "key", account }), answer: notFound },
  "identity.listApiKeys": {
    input: () => ({ accountType: account.type, accountId: account.id }),
    answer: "empty",
  },
  "identity.revokeApiKey": { input: ({ keyId }) => ({ keyId }), answer: notFound },
  "identity.whoAmI": { input: () => ({}), answer: "own" },
  "identity.authenticateApiKey": {
    input: ({ keyId, keyHash }) => ({ keyId, secretHash: keyHash }),
    answer: { code: Unauthenticated.code },
    system: true,
  },
  "identity.grantsOf": { input: () => ({ account }), answer: "empty", system: true },

  // Projections hold rows of all tenants: who manages them is nobody's tenant.
  "projections.list": { input: () => ({}), answer: "own", system: true },
  "projections.pause": { input: () => ({ projection: "acme.any" }), answer: notFound, system: true },
  "projections.resume": { input: () => ({ projection: "acme.any" }), answer: notFound, system: true },
  "projections.rebuild": { input: () => ({ projection: "acme.any" }), answer: notFound, system: true },

  "secrets.put": { input: () => ({ name: "acme-smtp", value: "globex-value" }), answer: "own" },
  "secrets.list": { input: () => ({}), answer: "empty" },
  "secrets.delete": { input: () => ({ name: "acme-smtp" }), answer: notFound },
  "secrets.reveal": { input: () => ({ name: "acme-smtp" }), answer: notFound },

  "bells.ringDaily": { input: () => ({ key: "acme-bell" }), answer: "own" },

  "delivery.listDeadLetters": { input: () => ({}), answer: "empty" },
  "delivery.getDeadLetter": { input: ({ letter }) => letter, answer: notFound },
  "delivery.retryDeadLetter": { input: ({ letter }) => letter, answer: notFound },
  "delivery.skipDeadLetter": { input: ({ letter }) => ({ ...letter, reason: "It is not ours." }), answer: notFound },
  "delivery.redeliver": {
    input: ({ letter: { context, consumer } }) => ({ context, consumer, since: "2020-01-01T00:00:00.000Z" }),
    answer: "own",
  },
  "delivery.listScheduled": { input: () => ({}), answer: "empty" },
  "delivery.cancelScheduled": { input: () => ({ context: "bells", key: "acme-bell" }), answer: notFound },

  "audit.list": { input: () => ({ actor: "acme-ann" }), answer: "empty" },
  "audit.events": {
    input: ({ connectorId }) => ({ aggregateType: "connector", aggregateId: connectorId }),
    answer: "empty",
  },
};

const crm = defineConnector({
  id: "crm",
  name: "CRM",
  auth: {
    apiKey: apiKeyAuth({ header: "x-api-key" }),
    basic: basic(),
    clientCredentials: clientCredentials({ tokenEndpoint: "https://crm.example/token", scopes: [] }),
    oauth2: oauth2({
      authorizationEndpoint: "https://crm.example/auth",
      tokenEndpoint: "https://crm.example/token",
      clientId: "client",
      clientSecret: "client-secret",
      scopes: [],
    }),
  },
  http: { baseUrl: "https://crm.example" },
  health: async () => ({ id: "x", name: "x" }),
  actions: {
    ask: connectorAction({
      summary: "Asks.",
      risk: "read",
      input: z.strictObject({}),
      output: z.object({}),
      run: async () => ({}),
    }),
  },
});

/** A host's context that has something scheduled. */
const bells = defineContract("bells", {
  ring: command({ input: z.strictObject({}), permission: "internal", summary: "Rings." }),
  ringDaily: command({
    input: z.strictObject({ key: z.string() }),
    permission: "bells:write",
    summary: "Has it ring every day.",
  }),
});
const bellsContext = defineContext(bells, {
  dependsOn: [identity],
  // What cannot be handled is parked.
  subscriptions: (on) => [
    on(UserCreated, { consumer: "bells.greet" }, async () => {
      throw new Error("out of order");
    }),
  ],
  handlers: {
    ring: () => undefined,
    ringDaily: ({ key }, ctx) => ctx.schedule(key, bells, "ring", {}, { cron: "0 9 * * *" }),
  },
});

/** Waits for a signal, so that it is still there to be steered. */
const ordering = defineWorkflow({
  name: "ordering",
  version: 1,
  input: z.strictObject({ item: z.string() }),
  output: z.string(),
  activities: {
    reserve: activity({
      input: z.strictObject({ item: z.string() }),
      output: z.string(),
      run: ({ item }) => `${item} is reserved`,
    }),
  },
  signals: { paid: z.string() },
  run: async (ctx, { item }) => {
    const reserved = await ctx.activity("reserve", { item });
    return `${reserved} ${await ctx.waitForSignal("paid")}`;
  },
});
/** Its call waits for a person, so that the run is still there to be canceled. */
const helper = defineAgent({
  id: "helper",
  summary: "Helps.",
  instructions: "Help.",
  tools: [operationTool(bells, "ringDaily")],
});
const turns = [{ toolCalls: [{ name: "bells_ringDaily", arguments: { key: "Acme agent" } }] }];

const places = [inMemoryPlace, pglitePlace, ...((await withoutServer()) ? [] : [postgresPlace])];

describe.each(places)("two tenants, $name", ({ make }) => {
  let place: Place;
  let app: Armature;
  let acme: Acme;
  const owner = (tenant: string): PrincipalInput => ({ tenant, user: `${tenant}-ann` });
  const system = (tenant: string): PrincipalInput => ({ tenant, system: "setup" });
  const createTenant = async (tenant: string, name: string) => {
    const { identity } = app.as(system(tenant));
    await identity.createTenant({ name });
    await identity.createUser({ userId: `${tenant}-ann`, name: "Ann of her tenant", roles: ["owner"] });
  };
  let others = 0;
  /** Another tenant for each question, so that no answer depends on what was asked before. */
  const globex = async () => {
    others += 1;
    const tenant = `globex-${others}`;
    await createTenant(tenant, "Globex");
    return tenant;
  };
  const call = async (id: string, principal: PrincipalInput): Promise<unknown> => {
    const input = samples[id]!.input(acme);
    if (app.operations.find((each) => each.id === id)?.operation.kind !== "stream")
      return app.call(id, input, { principal });
    const items: unknown[] = [];
    for await (const { item } of app.stream(id, input, { principal })) items.push(item);
    return { items };
  };

  beforeAll(async () => {
    place = await make();
    const shared = {
      keyEncryptionKey,
      connectors: [crm],
      contexts: [bellsContext],
      workflows: [ordering],
      agents: [helper],
      tenantAgents: { models: ["default"] as const },
      models: { default: new ScriptedModel(turns) },
    };
    app = await createArmature({
      store: await place.open(),
      ...shared,
      http: {
        send: async () => {
          throw new Error("nothing is sent here");
        },
      },
      relay: false,
      executions: false,
      allowSecretReveal: true,
    });
    await app.migrate();
    await createTenant("acme", "Acme Incorporated");
    const { agents, approvals, identity, secrets, connectors, workflows } = app.as(owner("acme"));
    await approvals.request({ ...acmeCall, title: "Acme writes to Bo" });
    await identity.createServiceAccount({ ...service, name: "Acme Importer" });
    await identity.createRole({ role: "acme-admin", permissions: ["identity:*"] });
    const { key, keyId } = await identity.createApiKey({ name: "Acme key" });
    await secrets.put({ name: "acme-smtp", value: "acme-value" });
    const { id: connectorId } = await connectors.connectWithApiKey({ provider: "crm", apiKey: "acme-api-key" });
    const begun = await connectors.authorize({ provider: "crm", redirectUri: "https://host.example/back" });
    const state = new URL(begun.url).searchParams.get("state")!;
    const keyHash = createHash("sha256").update(key).digest("hex");
    await app.call("bells.ringDaily", { key: "acme-bell" }, { principal: owner("acme") });
    await workflows.start({ ...order, ...acmeOrder });
    await workflows.schedule({ key: "acme-orders", ...order, recurrence: { everyMs: 86_400_000 } });
    await agents.setBudget({ budget: "tenant", steps: 77 });
    const { agent } = await agents.create({ summary: "Is Acme's own.", instructions: "Ring acme-value." });
    const { conversationId } = await agents.run({ agent: "helper", input: "Acme wants a bell.", runId: "run_acme" });
    const relaying = await createArmature({
      store: await place.open(),
      ...shared,
      relay: { maxAttempts: 1 },
      logger: recordingLogger(),
    });
    await relaying.settled();
    await relaying.close();
    const [parked] = (await app.as(owner("acme")).delivery.listDeadLetters()).items;
    const letter = { context: parked!.context, consumer: parked!.consumer, messageId: parked!.messageId };
    acme = { letter, conversationId, agent, connectorId, state, keyId, keyHash };
  });
  afterAll(async () => {
    await app?.close();
    await place?.close();
  });

  /** All that can be seen of acme by its owner. */
  const everythingOfAcme = async () => {
    const { agents, approvals, identity, secrets, connectors, workflows, audit, delivery } = app.as(owner("acme"));
    return JSON.stringify([
      await identity.getTenant(),
      await identity.listUsers(),
      await identity.listServiceAccounts(),
      await identity.listRoles(),
      await identity.listApiKeys(),
      await secrets.reveal({ name: "acme-smtp" }),
      await connectors.list(),
      await approvals.get({ approvalId: acmeCall.approvalId }),
      await approvals.list(),
      await workflows.get(acmeOrder),
      await workflows.list(),
      await workflows.history(acmeOrder),
      await agents.list(),
      await agents.describe({ agent: acme.agent }),
      await agents.get({ runId: "run_acme" }),
      await agents.listRuns(),
      await agents.budget({ budget: "tenant" }),
      (await audit.events({ limit: 200 })).items,
      await delivery.listScheduled(),
      await delivery.listDeadLetters(),
    ]);
  };

  test("there is a sample for every operation, and for nothing else", () => {
    const operations = app.operations.map(({ id }) => id);
    expect(operations.length).toBeGreaterThan(30);
    expect(Object.keys(samples).sort()).toEqual([...operations].sort());
  });

  test("the samples name what really is acme's: acme itself is not told that it does not exist", async () => {
    const reading = [
      "agents.describe",
      "agents.get",
      "agents.messages",
      "approvals.get",
      "connectors.get",
      "identity.getUser",
      "identity.getServiceAccount",
      "secrets.reveal",
      "workflows.get",
    ];
    for (const id of reading) await expect(call(id, owner("acme")), id).resolves.toBeDefined();
    expect(await call("identity.grantsOf", system("acme"))).toEqual({ permissions: expect.arrayContaining(["*"]) });
    for (const id of [
      "delivery.listDeadLetters",
      "delivery.listScheduled",
      "identity.listApiKeys",
      "agents.listRuns",
      "approvals.list",
      "workflows.list",
      "workflows.history",
      "audit.list",
      "audit.events",
      "audit.export",
      "audit.exportEvents",
    ])
      expect(((await call(id, owner("acme"))) as { items: unknown[] }).items, id).not.toEqual([]);
    const mine = call("connectors.completeAuthorization", owner("acme"));
    await expect(mine).rejects.not.toMatchObject({ code: AuthorizationInvalid.code });
  });

  test.each(Object.keys(samples))("%s, asked by globex for what is acme's, tells and changes nothing", async (id) => {
    const { answer, system: onlySystem } = samples[id]!;
    const tenant = await globex();
    const before = await everythingOfAcme();
    const asked = call(id, onlySystem ? system(tenant) : owner(tenant));
    if (typeof answer === "object") {
      const error = await asked.then(
        () => undefined,
        (thrown) => thrown,
      );
      expect(error?.code).toBe(answer.code);
    } else {
      const result = (await asked) ?? {};
      if (answer === "empty") {
        const { items, permissions, ...rest } = result as { items?: unknown; permissions?: unknown };
        expect(items ?? permissions).toEqual([]);
        expect(rest).toEqual({});
      }
      const text = JSON.stringify(result);
      for (const mark of ["Acme", "acme-value", acme.connectorId, acme.keyId]) expect(text).not.toContain(mark);
    }
    expect(await everythingOfAcme()).toBe(before);
  });

  test.each(Object.keys(samples).filter((id) => samples[id]!.system))(
    "%s is for the system alone: no owner holds its permission",
    async (id) => {
      await expect(call(id, owner("acme"))).rejects.toMatchObject({ code: Forbidden.code });
    },
  );

  test.each(Object.keys(samples))("%s, asked without its permission, is forbidden and changes nothing", async (id) => {
    const other = await globex();
    const before = await everythingOfAcme();
    const { permission } = app.operations.find((each) => each.id === id)!.operation;
    const strangers: PrincipalInput[] = [
      { tenant: "acme", user: "nobody-knows" },
      { tenant: "acme", service: "nobody-knows" },
      { tenant: "acme", agent: "helper", onBehalfOf: { type: "user", id: "nobody-knows" } },
      // Somebody else's owner is nobody here.
      { tenant: "acme", user: `${other}-ann` },
      // An owner with a key that is limited to something else.
      { tenant: "acme", actor: { type: "user", id: "acme-ann" }, limitedTo: ["other:thing"] } satisfies Principal,
    ];
    for (const stranger of strangers)
      await expect(call(id, stranger), JSON.stringify(stranger)).rejects.toMatchObject({
        code: Forbidden.code,
        details: { permission },
      });
    expect(await everythingOfAcme()).toBe(before);
  });
});
