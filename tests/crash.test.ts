import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type AuthorizationServer,
  startAuthorizationServer,
} from "@armature-examples/sandbox-crm/authorization-server";
import { walkAuthorization } from "@armature-examples/sandbox-crm/browser";
import { type CrmServer, startCrmServer } from "@armature-examples/sandbox-crm/crm-server";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { freshDatabase, withoutServer } from "../packages/adapter-postgres/src/fresh-database.ts";
import { Victim, VictimError } from "./crash/victims.ts";

const redirectUri = "http://127.0.0.1:3000/oauth/callback";
const noServer = await withoutServer();

const stores = [
  {
    name: "PGlite",
    skip: false,
    open: async () => {
      const folder = await mkdtemp(join(tmpdir(), "armature-crash-"));
      return { store: folder, close: () => rm(folder, { recursive: true, force: true }) };
    },
  },
  {
    name: "PostgreSQL",
    skip: noServer,
    open: async () => {
      const database = await freshDatabase();
      return { store: database.url, close: () => database.close() };
    },
  },
];

describe.each(stores)("killed with -9, on $name", ({ open, skip }) => {
  let authorization: AuthorizationServer;
  let crm: CrmServer;
  let place: Awaited<ReturnType<typeof open>>;
  let victim: Victim;
  let env: Record<string, string>;

  beforeAll(async () => {
    if (skip) return;
    authorization = await startAuthorizationServer({ client: { redirectUris: [redirectUri] } });
    crm = await startCrmServer({ authorizationServer: authorization.origin, requestsPerSecond: 1000 });
    place = await open();
    env = {
      STORE: place.store,
      KEY: randomBytes(32).toString("base64"),
      AUTHORIZATION_SERVER: authorization.origin,
      CRM_API: crm.origin,
      REDIRECT_URI: redirectUri,
    };
    victim = await Victim.start(env);
  });
  afterEach(() => {
    authorization?.simulation.lift();
    crm?.simulation.lift();
  });
  afterAll(async () => {
    await victim?.kill();
    await Promise.all([authorization?.close(), crm?.close(), place?.close()]);
  });

  const connect = async (): Promise<string> => {
    const { url, connectorId } = await victim.order<{ url: string; connectorId: string }>({ do: "authorize" });
    const { search } = await walkAuthorization(url, { stopAt: redirectUri });
    await victim.order({ do: "callback", query: search });
    return connectorId;
  };
  const restart = async (more: Record<string, string> = {}) => {
    await victim.kill();
    victim = await Victim.start({ ...env, ...more });
  };

  it.skipIf(skip)("after the new token is durable, the connection is still alive", { timeout: 60_000 }, async () => {
    const connectorId = await connect();
    authorization.expireAccessTokens();
    // The first answer is that the token has expired. A new one is fetched and stored, and then the CRM says nothing.
    crm.simulation.set({ kind: "hang", when: "after" }, { times: 2 });
    const cut = victim.order({ do: "list", connectorId }).catch((error: Error) => error.message);
    await crm.simulation.untilHeld(1);
    await restart();
    crm.simulation.lift();
    expect(await cut).toBe("the process ended");
    expect(await victim.order({ do: "list", connectorId })).toBe(1);
    expect(authorization.stats().tokenRequests.byGrantType["refresh_token"]).toEqual({ granted: 1, refused: 0 });
  });

  it.skipIf(skip)(
    "in the instant before, the connector says at once that it needs re-authorization",
    { timeout: 60_000 },
    async () => {
      const connectorId = await connect();
      authorization.expireAccessTokens();
      // The authorization server rotates the token, and its answer never arrives.
      authorization.simulation.set({ kind: "hang", when: "after" }, { times: 1 });
      const cut = victim.order({ do: "list", connectorId }).catch((error: Error) => error.message);
      await authorization.simulation.untilHeld(1);
      await restart();
      authorization.simulation.lift();
      expect(await cut).toBe("the process ended");
      const refusal = await victim.order({ do: "list", connectorId }).catch((error: unknown) => error);
      expect(refusal).toBeInstanceOf(VictimError);
      expect((refusal as VictimError).code).toBe("connector.needs_reauthorization");
      expect((refusal as VictimError).message).toContain("a token rotation was cut off");
      expect(await victim.order({ do: "status", connectorId })).toBe("needs-reauthorization");
    },
  );

  it.skipIf(skip)(
    "with a credential stored and its connection not noted, the credential goes, and no other",
    { timeout: 60_000 },
    async () => {
      const connectorId = await connect();
      const secrets = () => victim.order<string[]>({ do: "secrets" });
      const before = await secrets();
      expect(before.some((name) => name.includes(connectorId))).toBe(true);
      await restart({ STOPS_WITH_SECRET: "1" });
      const { url } = await victim.order<{ url: string }>({ do: "authorize" });
      const { search } = await walkAuthorization(url, { stopAt: redirectUri });
      const cut = [{ do: "connect" }, { do: "callback", query: search }].map((order) =>
        victim.order(order).catch((error: Error) => error.message),
      );
      await expect.poll(secrets, { timeout: 20_000 }).toHaveLength(before.length + 2);
      await restart();
      expect(await Promise.all(cut)).toEqual(["the process ended", "the process ended"]);
      expect(await secrets()).toHaveLength(before.length + 2);
      await restart({ AHEAD_MS: String(11 * 60_000) });
      await expect.poll(secrets, { timeout: 20_000 }).toEqual(before);
      await restart();
      expect(await victim.order({ do: "list", connectorId })).toBe(1);
    },
  );

  it.skipIf(skip)(
    "again and again among writes: nothing acknowledged is lost, nothing happens twice",
    { timeout: 120_000 },
    async () => {
      const counters = ["a", "b", "c", "d"];
      const writes = Array.from({ length: 120 }, (_, index) => ({
        counter: counters[index % 4]!,
        key: `write-${index}`,
      }));
      const values = new Map<string, number>();
      const send = async ({ counter, key }: (typeof writes)[number]) => {
        const { value } = await victim.order<{ value: number }>({ do: "count", counter, key });
        // A repeated call gives the first one's result.
        if (values.has(key)) expect(value).toBe(values.get(key));
        values.set(key, value);
      };
      for (let round = 1; round <= 3; round += 1) {
        const before = values.size;
        const all = Promise.all(
          writes.map((write) =>
            send(write).catch((error: unknown) => (error instanceof VictimError ? Promise.reject(error) : undefined)),
          ),
        );
        // Killed while some are acknowledged and others are not.
        await expect.poll(() => values.size > before || round > 1, { interval: 1 }).toBe(true);
        await victim.kill();
        await all;
        await restart();
      }
      await Promise.all(writes.map(send));
      const seen = await victim.order<{
        counters: { id: string; value: number }[];
        followers: { id: string; value: number }[];
        events: { aggregateId: string; aggregateVersion: number }[];
      }>({ do: "counters" });
      const thirtyEach = counters.map((id) => ({ id, value: 30 }));
      expect(seen.counters).toEqual(thirtyEach);
      expect(seen.followers).toEqual(thirtyEach);
      for (const counter of counters) {
        const versions = seen.events
          .filter((event) => event.aggregateId === counter)
          .map((event) => event.aggregateVersion);
        expect(versions.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 30 }, (_, index) => index + 1));
      }
    },
  );
});
