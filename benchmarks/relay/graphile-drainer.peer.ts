import { Logger, run } from "graphile-worker";
import type { MakeDrainer } from "./drainer.ts";

export const makeDrainer: MakeDrainer = async ({ url }, log, published) => {
  const runner = await run({
    // As its documentation says for many small jobs: fetched and finished in batches.
    preset: {
      worker: {
        connectionString: url,
        concurrentJobs: 10,
        localQueue: { size: 500 },
        completeJobBatchDelay: 0,
        failJobBatchDelay: 0,
        logger: new Logger(() => () => {}),
      },
    },
    noHandleSignals: true,
    taskList: {
      publish: async (payload) => {
        const { tenant, subject, sequence } = payload as { tenant: string; subject: string; sequence: number };
        log.add(`${tenant} ${subject}`, sequence);
        published(1);
      },
    },
  });
  return {
    // It is woken by a notification.
    begin: () => {},
    close: () => runner.stop(),
  };
};
