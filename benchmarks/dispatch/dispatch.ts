import { InProcessBus } from "@armature/core/in-memory";
import { testEvent } from "../../packages/adapter-redis/src/test-event.ts";
import type { Work } from "../work.ts";
import { dispatcher, EVENT } from "./dispatcher.ts";

/** Events within a process. */
export const dispatch: Work = {
  name: "dispatch",
  about: "an event within a process, from its publication to its one handler",
  run: async (bench) => {
    const peers = await bench.peers("dispatch", ["mitt", "emittery", "emmett", "moleculer", "nest"], {});
    await bench.race({ work: "dispatch", unit: "events/s", contenders: [floor(), await ours(), ...peers] });
  },
};

const floor = () =>
  dispatcher(
    "floor",
    (handled) => {
      const handlers = new Map<string, ((event: typeof EVENT) => void)[]>([[EVENT.type, [() => handled()]]]);
      return {
        dispatch: () => {
          for (const handler of handlers.get(EVENT.type) ?? []) handler(EVENT);
        },
      };
    },
    { note: "by hand: a map of functions that are called" },
  );

async function ours() {
  const bus = new InProcessBus();
  let handle = () => {};
  await bus.subscribe({ group: "g", sources: ["/contexts/orders"], handle: async () => handle() });
  const event = { ...testEvent("/contexts/orders", "order/ord_1", 1), data: EVENT };
  return dispatcher(
    "armature",
    (handled) => {
      handle = handled;
      return { dispatch: () => bus.publish([event]), close: () => bus.close() };
    },
    { note: "each handler gets a copy, in order for each subject, again when it throws" },
  );
}
