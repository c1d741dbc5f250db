import {
  type Armature,
  AuthorizationRefused,
  type Clock,
  type Commit,
  CredentialRefused,
  connectorActions,
  DeadlineExceeded,
  SealedSecretStore,
  Secret,
  type SecretStore,
  type StoreAdapter,
  systemIds,
} from "@armature/core";
import { intercepted } from "@armature/core/testing";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { withoutServer } from "../../packages/adapter-postgres/src/fresh-database.ts";
import { gate } from "../scenarios/bench.ts";
import { inMemoryPlace, keyEncryptionKey, type Place, pglitePlace, postgresPlace } from "../scenarios/place.ts";
import { hours, movableClock, provider, useSandbox } from "./sandbox.ts";

const sandbox = useSandbox();
const places = [inMemoryPlace, pglitePlace, ...((await withoutServer()) ? [] : [postgresPlace])];
const MARGIN_MS = 10 * 60_000;

const ways = [
  { way: "an API key", connect: (app: Armature, tenant: string) => sandbox.connectWithKey(app, tenant) },
  { way: "an authorization", connect: (app: Armature, tenant: string) => sandbox.connect(app, tenant) },
];

const sealed = (store: StoreAdapter, clock: Clock): SecretStore =>
  new SealedSecretStore({ store, ids: systemIds(clock), keyEncryptionKey: new Secret(keyEncryptionKey) });

/** Whether the commit notes a connection. */
const connects = (commit: Commit) =>
  commit.parts.some(({ events }) => events.some(({ type }) => type === "connector.connected"));

describe.each(places)("a credential that is stored, $name", (kind) => {
  let place: Place;
  const ends: (() => void)[] = [];
  beforeAll(async () => {
    place = await kind.make();
    const app = await sandbox.start({ store: await place.open(), relay: false });
    await app.migrate();
  });
  afterEach(() => {
    for (const end of ends.splice(0)) end();
  });
  afterAll(() => place?.close());

  /** Two processes on one store, the first of which can stop in the middle of a call. */
  async function bench() {
    const clock = movableClock();
    const tenant = sandbox.tenant();
    const store = intercepted(await place.open());
    const secrets = intercepted(sealed(store.port, clock));
    const first = await sandbox.start({ store: store.port, secrets: secrets.port, clock, relay: false });
    const second = await sandbox.start({ store: await place.open(), clock });
    const stored = () => sealed(place.store, clock).list(tenant, "connectors/");
    const waiting = async () =>
      (await second.as({ tenant, user: "ann" }).delivery.listScheduled()).items.map(({ operation }) => operation);
    /** What a stop holds up, until the test has ended. */
    const stop = (reached: () => void): Promise<never> => {
      const { opened, open } = gate();
      ends.push(open);
      reached();
      return opened.then(() => {
        throw new Error("the process has ended");
      });
    };
    return { clock, tenant, store, secrets, first, second, stored, waiting, stop };
  }

  test.each(ways)("and never connected with, because the process died, goes: $way", async ({ connect }) => {
    const { clock, tenant, secrets, first, second, stored, waiting, stop } = await bench();
    const { opened, open } = gate();
    secrets.around("put", async (proceed) => {
      await proceed();
      return stop(open);
    });
    void connect(first, tenant).catch(() => undefined);
    await opened;
    expect(await stored()).toHaveLength(1);
    clock.skip(MARGIN_MS);
    await second.settled();
    // The call could still go on: its deadline and the margin have not passed.
    expect(await stored()).toHaveLength(1);
    expect(await waiting()).toEqual(["connectors.forgetCredential"]);
    clock.skip(30_001);
    await second.settled();
    expect(await stored()).toEqual([]);
    expect(await waiting()).toEqual([]);
  });

  test.each(ways)("and connected with stays, and nothing is left that would destroy it: $way", async ({ connect }) => {
    const { clock, tenant, first, second, stored, waiting } = await bench();
    const connectorId = await connect(first, tenant);
    expect(await waiting()).toEqual([]);
    clock.skip(MARGIN_MS + hours(0.5));
    await second.settled();
    expect(await stored()).toHaveLength(1);
    const { connectors } = second.as({ tenant, user: "ann" });
    const actions = connectorActions(connectors, sandbox.definition(), connectorId);
    expect((await actions.listContacts({ limit: 1 })).contacts).toHaveLength(1);
  });

  test.each(ways)("is connected with or destroyed, however late the connection is noted: $way", async ({ connect }) => {
    const { clock, tenant, store, first, second, stored } = await bench();
    const [reached, go] = [gate(), gate()];
    store.around("commit", async (proceed, [, commit]) => {
      if (!connects(commit as Commit)) return proceed();
      reached.open();
      await go.opened;
      return proceed();
    });
    const call = connect(first, tenant);
    const refused = expect(call).rejects.toMatchObject({ code: expect.stringMatching(/version_conflict|deadline/) });
    await reached.opened;
    clock.skip(MARGIN_MS + 30_001);
    await second.settled();
    expect(await stored()).toEqual([]);
    go.open();
    await refused;
    const { items } = await second.as({ tenant, user: "ann" }).connectors.list({});
    expect(items.filter(({ status }) => status === "connected")).toEqual([]);
  });

  test.each(ways)("whose noting had no answer is kept when it was noted: $way", async ({ connect }) => {
    const { clock, tenant, store, first, second, stored, waiting } = await bench();
    store.around("commit", async (proceed, [, commit]) => {
      const result = await proceed();
      if (connects(commit as Commit)) throw new Error("the connection is gone");
      return result;
    });
    await expect(connect(first, tenant)).rejects.toMatchObject({ code: "internal" });
    clock.skip(MARGIN_MS + 30_001);
    await second.settled();
    expect(await stored()).toHaveLength(1);
    expect(await waiting()).toEqual([]);
  });

  test.each(ways)("is not written any more once the call's deadline has passed: $way", async ({ connect }) => {
    const { clock, tenant, store, secrets, first, stored } = await bench();
    let writes = 0;
    secrets.around("put", (proceed) => {
      writes += 1;
      return proceed();
    });
    // The commit that says what would destroy it takes too long.
    store.around("commit", async (proceed, [, commit]) => {
      const result = await proceed();
      if ((commit as Commit).parts.some(({ timers = [] }) => timers.length > 0)) clock.skip(30_000);
      return result;
    });
    await expect(connect(first, tenant)).rejects.toThrow(DeadlineExceeded);
    expect(writes).toBe(0);
    expect(await stored()).toEqual([]);
  });

  test("is none when the provider refuses, and then nothing waits", async () => {
    const { tenant, first, second, stored, waiting } = await bench();
    const { query } = await sandbox.walk(first, tenant, "deny");
    await expect(first.oauthCallback(query)).rejects.toThrow(AuthorizationRefused);
    const { connectors } = second.as({ tenant, user: "ann" });
    await expect(connectors.connectWithApiKey({ provider, apiKey: "wrong" })).rejects.toThrow(CredentialRefused);
    expect(await stored()).toEqual([]);
    expect(await waiting()).toEqual([]);
  });
});
