import Emittery from "emittery";
import { subjectOf } from "../peers.ts";
import { dispatcher, EVENT } from "./dispatcher.ts";

export async function contenders() {
  return [
    dispatcher(subjectOf("emittery"), (handled) => {
      const events = new Emittery<{ [EVENT.type]: typeof EVENT }>();
      events.on(EVENT.type, handled);
      return { dispatch: () => events.emit(EVENT.type, EVENT) };
    }),
  ];
}
