import { randomInt } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";
import { Fleet, ROLES } from "./fleet.ts";
import { judge, type LoggedEvent, type Verdict } from "./judge.ts";
import { TENANTS, Workload } from "./workload.ts";

export const KINDS = [...ROLES, "postgres", "redis", "flush"] as const;
export type Kind = (typeof KINDS)[number];

export interface KindResult extends Verdict {
  readonly kind: Kind;
  readonly kills: number;
  /** Writes that were acknowledged, each an event. */
  readonly acknowledged: number;
  /** How often a consumer began with an event that it had begun with before. */
  readonly repeated: number;
  /** The longest time after a kill until writing, relaying and consuming all went on. */
  readonly slowestMs: number;
  readonly seconds: number;
}

export interface Progress {
  readonly kind: Kind;
  readonly kills: number;
  readonly acknowledged: number;
  readonly delivered: number;
}

const LOOK_MS = 20;
/** Between two kills each part must do at least this much. */
const ENOUGH = 10;
const LONGEST_PAUSE_MS = 200;
/** When nothing moves for so long, it does not move any more. */
const STUCK_MS = 90_000;
const QUIET_MS = 5_000;

/** Kills again and again while processes write, relay and consume; then lets all of it settle, and judges. */
export async function runKind(kind: Kind, kills: number, progress: (now: Progress) => void): Promise<KindResult> {
  const began = performance.now();
  const work = new Workload();
  const fleet = await Fleet.start(work.hear);
  const counts = () => [work.acknowledged, work.begun.store.size, work.begun.bus.size] as const;
  const stuck: string[] = [];
  let done = 0;
  let slowestMs = 0;
  try {
    work.start(fleet);
    while (done < kills && stuck.length === 0) {
      const before = counts();
      const since = performance.now();
      const missing = () => counts().findIndex((count, at) => count < before[at]! + ENOUGH);
      if (!(await until(() => missing() === -1, work)))
        stuck.push(`after ${done} kills ${["writing", "the store's consumer", "the bus"][missing()]} did not go on`);
      if (done > 0) slowestMs = Math.max(slowestMs, performance.now() - since);
      if (stuck.length > 0) break;
      await pause(randomInt(LONGEST_PAUSE_MS));
      await strike(kind, fleet, work, stuck);
      done += 1;
      progress({ kind, kills: done, acknowledged: work.acknowledged, delivered: counts()[1] + counts()[2] });
    }
    await work.stop();
    await settled(kind, fleet, work);
    const log = await everyEvent(fleet);
    const verdict = judge(log, work.orders);
    return {
      kind,
      kills: done,
      acknowledged: work.acknowledged,
      ...verdict,
      violations: [...stuck, ...fleet.fallen, ...verdict.violations],
      repeated: Object.values(work.begun).reduce((sum, times) => sum + again(times), 0),
      slowestMs: Math.round(slowestMs),
      seconds: Math.round((performance.now() - began) / 100) / 10,
    };
  } finally {
    await fleet.remove();
  }
}

async function strike(kind: Kind, fleet: Fleet, work: Workload, stuck: string[]): Promise<void> {
  switch (kind) {
    case "postgres":
      return fleet.restartPostgres();
    case "redis":
      return fleet.restartRedis();
    case "flush": {
      // What was written since the last flush must have arrived: only what is on its way may be forgotten by this one.
      const earlier = work.waiting().filter(({ event, forgotten }) => event !== undefined && forgotten !== true);
      if (!(await until(() => earlier.every(({ event }) => work.begun.bus.has(event!)), work)))
        stuck.push("what was written after a flush did not arrive");
      await fleet.flushRedis();
      for (const order of work.waiting()) order.forgotten = true;
      return;
    }
    default:
      return fleet.kill(kind);
  }
}

/** Waits until each event has had its effects, or until nothing more happens. */
async function settled(kind: Kind, fleet: Fleet, work: Workload): Promise<void> {
  let last = "";
  let moved = performance.now();
  for (;;) {
    const times = await fleet.asked(async (app) => {
      const each = await Promise.all(TENANTS.map((tenant) => app.as({ tenant, user: "ann" }).receipts.times()));
      return {
        store: each.reduce((sum, { store }) => sum + store, 0),
        bus: each.reduce((sum, { bus }) => sum + bus, 0),
      };
    });
    const now = JSON.stringify(times);
    if (now !== last) moved = performance.now();
    last = now;
    if (times.store >= work.acknowledged && times.bus >= work.acknowledged) return;
    // Nobody knows how much a flushed Redis has forgotten.
    const patience = kind === "flush" && times.store >= work.acknowledged ? QUIET_MS : STUCK_MS;
    if (performance.now() - moved > patience) return;
    await pause(10 * LOOK_MS);
  }
}

async function everyEvent(fleet: Fleet): Promise<readonly LoggedEvent[]> {
  return fleet.asked(async (app) => {
    const all: LoggedEvent[] = [];
    for (const tenant of TENANTS)
      for await (const { item } of app.as({ tenant, user: "ann" }).audit.exportEvents()) all.push(item);
    return all;
  });
}

async function until(holds: () => boolean, work: Workload): Promise<boolean> {
  const giveUpAt = performance.now() + STUCK_MS;
  while (!holds()) {
    await work.check();
    if (performance.now() > giveUpAt) return false;
    await pause(LOOK_MS);
  }
  return true;
}

function again(times: ReadonlyMap<string, number>): number {
  return [...times.values()].reduce((sum, each) => sum + each - 1, 0);
}
