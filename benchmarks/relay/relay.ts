import { toRows } from "../rows.ts";
import type { Work } from "../work.ts";
import { type DrainContender, drainContender, type RelaySetting } from "./drain-contender.ts";
import { createFloorOutbox, fillFloorOutbox } from "./floor-outbox.ts";
import { createOurOutbox, fillOurOutbox } from "./our-outbox.ts";

/** Publishing what was committed: how fast, and in which order. */
export const relay: Work = {
  name: "relay",
  about: "four processes drain an outbox together; the order of each aggregate's events is checked over all of them",
  run: async (bench) => {
    const setting: RelaySetting = {
      database: await bench.database(),
      processes: 4,
      ...(bench.quick ? { events: 500, subjects: 50 } : { events: 100_000, subjects: 400 }),
    };
    await createFloorOutbox(setting);
    await createOurOutbox(setting);
    const contenders: DrainContender[] = [
      await drainContender(setting, {
        subject: "floor",
        note: `by hand: 64 partitions by advisory lock, pages of 500, deleted when published`,
        file: "./floor-drainer.ts",
        fill: () => fillFloorOutbox(setting),
        outbox: "floor.relay_outbox",
      }),
      await drainContender(setting, {
        subject: "armature",
        file: "./armature-drainer.ts",
        fill: () => fillOurOutbox(setting),
        outbox: "counters.outbox",
      }),
      ...((await bench.peers("relay", ["graphile-worker"], setting)) as DrainContender[]),
    ];
    await bench.race({ work: "relay", unit: "events/s", rounds: 7, contenders });
    const reorders = contenders.map(({ subject, reorders: values }) => ({ subject, values }));
    bench.add(toRows("relay reorders", "reorders", reorders));
  },
};
