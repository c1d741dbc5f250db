import mitt from "mitt";
import { subjectOf } from "../peers.ts";
import { dispatcher, EVENT } from "./dispatcher.ts";

// Its declarations describe the CommonJS form; what Node imports is the function itself.
const emitter = mitt as unknown as typeof mitt.default;

export async function contenders() {
  return [
    dispatcher(
      subjectOf("mitt"),
      (handled) => {
        const events = emitter<{ [EVENT.type]: typeof EVENT }>();
        events.on(EVENT.type, handled);
        return { dispatch: () => events.emit(EVENT.type, EVENT) };
      },
      { note: "calls and does not wait: what a handler throws reaches the publisher" },
    ),
  ];
}
