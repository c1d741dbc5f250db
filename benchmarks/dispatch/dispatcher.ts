import type { Contender } from "../work.ts";

/** What is handed out: one small event, again and again. */
export const EVENT = { type: "order.changed", orderId: "ord_1", quantity: 3 } as const;

const BATCH = 100;

/** Hands out events one after the other and waits until each has reached its handler; events in a second. */
export function dispatcher(
  subject: string,
  open: (handled: () => void) => { dispatch(): unknown; close?(): Promise<void> },
  options: Pick<Contender, "note"> = {},
): Contender {
  let handled = 0;
  let wanted = 0;
  let all = () => {};
  const { dispatch, close } = open(() => {
    handled += 1;
    if (handled === wanted) all();
  });
  return {
    subject,
    ...options,
    measure: async (ms) => {
      const start = performance.now();
      let events = 0;
      while (performance.now() - start < ms) {
        wanted = handled + BATCH;
        const done = new Promise<void>((resolve) => {
          all = resolve;
        });
        for (let index = 0; index < BATCH; index += 1) {
          const answer = dispatch();
          if (answer instanceof Promise) await answer;
        }
        await done;
        events += BATCH;
      }
      if (handled !== wanted) throw new Error(`${subject} handled an event more than once.`);
      return (events * 1000) / (performance.now() - start);
    },
    ...(close === undefined ? {} : { close }),
  };
}
