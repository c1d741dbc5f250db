import { type Claim, type ClaimedShare, everyPartition, headOf, PARTITIONS, type Store } from "@armature/core";
import { expect } from "vitest";
import { fresh } from "./expectations.ts";
import { ALPHA, BETA, command, newId, outboxOf, part, removeAll, retry, save } from "./store-fixture.ts";
import type { RegisterTest } from "./suite.ts";

const TTL_MS = 60_000;
const ANNOUNCED_WITHIN_MS = 10_000;

/** What these tests need beside the store. */
export interface RelayBackend {
  /** The same store as another process sees it; without it the test of two instances is skipped. */
  readonly elsewhere?: Store;
  /** Lets time pass for stores that go by a clock of their own. */
  pass?(ms: number): Promise<void>;
}

/** How relays share the partitions of an outbox, and what somebody can do who has lost one. */
export function registerRelayTests(register: RegisterTest, store: () => Store, backend: () => RelayBackend): void {
  let now = Date.now();
  const members = new Set<string>();
  /** A test that finds all partitions free. */
  const test: RegisterTest = (name, run, timeoutMs) =>
    register(
      name,
      async (context) => {
        for (const each of [ALPHA, BETA]) await store().outbox.leave(each, "test");
        try {
          await run(context);
        } finally {
          for (const member of members) await store().outbox.leave(ALPHA, member);
          members.clear();
        }
      },
      timeoutMs,
    );

  const member = () => {
    const name = newId("relay");
    members.add(name);
    return name;
  };
  const instances = () => [store(), backend().elsewhere ?? store()];
  const claim = (name: string, keep?: readonly number[], of: Store = store()): Promise<ClaimedShare> =>
    of.outbox.claim(ALPHA, { member: name, keep, ttlMs: TTL_MS, now });
  const pass = async (ms: number) => {
    now += ms;
    await backend().pass?.(ms);
  };
  const partitionsOf = ({ claims }: ClaimedShare) => claims.map(({ partition }) => partition);
  const fenceOf = (claims: readonly Claim[], partition: number) =>
    claims.find((each) => each.partition === partition)!.fence;

  test("a member that is alone gets every partition, and keeps it with the same fence", async () => {
    const one = member();
    const first = await claim(one);
    expect(first.members).toBe(1);
    expect(partitionsOf(first).sort((a, b) => a - b)).toEqual(everyPartition.map(({ partition }) => partition));
    expect(await claim(one)).toEqual(first);
    expect(await claim(one, partitionsOf(first))).toEqual(first);
  });

  test("another one gets its share when it is given up, and nothing before", async () => {
    const [one, two] = [member(), member()];
    const all = await claim(one);
    const [, elsewhere] = instances();
    expect(await claim(two, undefined, elsewhere)).toEqual({ members: 2, claims: [] });
    const half = await claim(one, partitionsOf(all).slice(0, PARTITIONS / 2));
    expect(half).toEqual({ members: 2, claims: all.claims.slice(0, PARTITIONS / 2) });
    const other = await claim(two, undefined, elsewhere);
    expect(other.claims).toHaveLength(PARTITIONS / 2);
    expect(new Set([...partitionsOf(half), ...partitionsOf(other)]).size).toBe(PARTITIONS);
    for (const { partition, fence } of other.claims) expect(fence).toBeGreaterThan(fenceOf(all.claims, partition));
  });

  test("nobody takes more than the share, however much is free", async () => {
    const names = [member(), member(), member()];
    for (const name of names) await claim(name, []);
    await store().outbox.leave(ALPHA, names[0]!);
    const left = await Promise.all(names.slice(1).map((name) => claim(name)));
    expect(left.map(({ claims }) => claims.length)).toEqual([PARTITIONS / 2, PARTITIONS / 2]);
  });

  test("who has been silent for too long loses everything, and not before", async () => {
    const [one, two] = [member(), member()];
    const before = await claim(one);
    await pass(TTL_MS - 5_000);
    expect((await claim(two)).claims).toEqual([]);
    await pass(5_001);
    const after = await claim(two);
    expect(after.members).toBe(1);
    expect(after.claims).toHaveLength(PARTITIONS);
    for (const { partition, fence } of after.claims) expect(fence).toBeGreaterThan(fenceOf(before.claims, partition));
    expect((await claim(one)).claims).toEqual([]);
  });

  test("who leaves makes room at once", async () => {
    const [one, two] = [member(), member()];
    await claim(one);
    await store().outbox.leave(ALPHA, one);
    const { claims, members: alive } = await claim(two);
    expect([alive, claims.length]).toEqual([1, PARTITIONS]);
    await store().outbox.leave(ALPHA, "nobody");
  });

  test("contexts are shared by themselves", async () => {
    const [one, two] = [member(), member()];
    await claim(one);
    const { claims } = await store().outbox.claim(BETA, { member: two, ttlMs: TTL_MS, now });
    expect(claims).toHaveLength(PARTITIONS);
    await store().outbox.leave(BETA, two);
  });

  test("of many that ask at once no two ever have the same partition under the same fence", async () => {
    const names = Array.from({ length: 6 }, member);
    const owners = new Map<string, string>();
    const play = async (name: string, of: Store) => {
      let mine: readonly number[] = [];
      for (let turn = 0; turn < 8; turn += 1) {
        const share = await claim(name, mine, of);
        for (const { partition, fence } of share.claims) {
          const owner = owners.get(`${partition}/${fence}`);
          expect(owner === undefined || owner === name).toBe(true);
          owners.set(`${partition}/${fence}`, name);
        }
        mine = partitionsOf(share).filter((partition) => (partition + turn) % 3 !== 0);
      }
    };
    await Promise.all(names.map((name, at) => play(name, instances()[at % 2]!)));
    expect(owners.size).toBeGreaterThan(PARTITIONS);
  });

  test("who has lost a partition can neither mark nor remove, nor note a failure, nor park", async () => {
    const [tenant, ref, one, two] = [fresh("t"), { type: "order", id: newId("ord") }, member(), member()];
    await save(store(), tenant, ALPHA, ref, 0, { version: 2 });
    const old = (await claim(one)).claims;
    const [first, second] = await outboxOf(store(), ALPHA, tenant);
    const { partition, position, message } = first!;
    await store().outbox.leave(ALPHA, one);
    const current = (await claim(two, undefined, instances()[1])).claims;
    const lost = { partition, fence: fenceOf(old, partition) };
    const held = { partition, fence: fenceOf(current, partition) };
    const { outbox } = store();
    const failure = { position, consumer: "orders.mirror", attempts: 1, nextAt: 5 };
    const letter = {
      context: ALPHA,
      consumer: "orders.mirror",
      message,
      reason: "no",
      attempts: 8,
      time: "2026-01-02T03:04:05.678Z",
    };
    expect(await outbox.settle(ALPHA, [lost], { published: [first!], finished: [second!] })).toEqual([partition]);
    expect(await outbox.failed(ALPHA, lost, failure)).toBe(false);
    expect(await outbox.park(ALPHA, lost, position, letter)).toBe("lost");
    expect(await outboxOf(store(), ALPHA, tenant)).toEqual([first, second]);
    expect((await store().deadLetters({ tenant, context: ALPHA }, { limit: 10 })).items).toEqual([]);

    expect(await outbox.failed(ALPHA, held, failure)).toBe(true);
    expect(await outbox.settle(ALPHA, [held], { published: [first!], finished: [second!] })).toEqual([]);
    const [left, ...others] = await outboxOf(store(), ALPHA, tenant);
    expect(others).toEqual([]);
    expect(left).toMatchObject({ published: true, failures: [{ attempts: 1 }] });
    await store().outbox.leave(ALPHA, two);
    await removeAll(store(), ALPHA, [left!]);
  });

  test("a replay takes effect for who has the partition, and not for who has lost it", async () => {
    const [tenant, ref, one, two] = [fresh("t"), { type: "order", id: newId("ord") }, member(), member()];
    await save(store(), tenant, ALPHA, ref, 0);
    const [entry] = await outboxOf(store(), ALPHA, tenant);
    const { partition, position, message } = entry!;
    const old = (await claim(one)).claims.find((each) => each.partition === partition)!;
    const time = "2026-01-02T03:04:05.678Z";
    const letter = { context: ALPHA, consumer: "orders.mirror", message, reason: "no", attempts: 8, time };
    await store().outbox.park(ALPHA, old, position, letter);
    await store().outbox.settle(ALPHA, [old], { published: [], finished: [entry!] });
    expect(await retry(store(), tenant, ALPHA, "orders.mirror", ref)).toBe(1);
    await store().outbox.leave(ALPHA, one);
    const current = (await claim(two)).claims.find((each) => each.partition === partition)!;
    const read = async (cursor: Claim) =>
      (await store().outbox.read(ALPHA, { cursors: [cursor], limit: 1_000 })).filter(
        (each) => headOf(each.message).tenant === tenant,
      );
    expect(await read(old)).toEqual([]);
    const back = await read(current);
    expect(back.map((each) => each.message)).toEqual([message]);
    await store().outbox.settle(ALPHA, [current], { published: [], finished: back });
  });

  test("what belongs to claims that hold is settled beside those that do not", async () => {
    const tenant = fresh("t");
    const messages = Array.from({ length: 40 }, () => command(tenant, ALPHA));
    await store().commit(tenant, { parts: [part(ALPHA, { messages })] });
    const one = member();
    const { claims } = await claim(one);
    const entries = await outboxOf(store(), ALPHA, tenant);
    const kept = entries[0]!.partition;
    const mixed = claims.map((each) => (each.partition === kept ? { ...each, fence: each.fence - 1 } : each));
    expect(await store().outbox.settle(ALPHA, mixed, { published: [], finished: entries })).toEqual([kept]);
    const left = await outboxOf(store(), ALPHA, tenant);
    expect(left.map(({ position }) => position)).toEqual(
      entries.filter(({ partition }) => partition === kept).map(({ position }) => position),
    );
    expect(await store().outbox.settle(ALPHA, claims, { published: [], finished: left })).toEqual([]);
  });

  const announced = async () => {
    const [own, elsewhere] = instances();
    const heard = [new Set<string>(), new Set<string>()];
    const watches = [own!, elsewhere!].map((each, at) =>
      each.outbox.watch((contexts) => {
        for (const context of contexts) heard[at]!.add(context);
      }),
    );
    const end = performance.now() + ANNOUNCED_WITHIN_MS;
    while (heard.some((each) => each.size < 2) && performance.now() < end) {
      await own!.outbox.announce([ALPHA, BETA]);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    expect(heard.map((each) => [...each].sort())).toEqual([
      [ALPHA, BETA],
      [ALPHA, BETA],
    ]);
    await watches[0]!.close();
    await watches[1]!.close();
    await watches[1]!.close();
    for (const each of heard) each.clear();
    await own!.outbox.announce([ALPHA]);
    expect(heard.map((each) => each.size)).toEqual([0, 0]);
  };
  test("what is announced by one process is heard by all that watch", announced, 2 * ANNOUNCED_WITHIN_MS);
}
