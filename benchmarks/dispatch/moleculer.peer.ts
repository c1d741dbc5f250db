import moleculer from "moleculer";
import { subjectOf } from "../peers.ts";
import { dispatcher, EVENT } from "./dispatcher.ts";

export async function contenders() {
  const broker = new moleculer.ServiceBroker({ logger: false });
  let handle = () => {};
  broker.createService({ name: "orders", events: { [EVENT.type]: () => handle() } });
  await broker.start();
  return [
    dispatcher(subjectOf("moleculer"), (handled) => {
      handle = handled;
      return { dispatch: () => broker.emit(EVENT.type, EVENT), close: () => broker.stop() };
    }),
  ];
}
