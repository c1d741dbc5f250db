import { makeWorkerUtils } from "graphile-worker";
import { subjectOf } from "../peers.ts";
import { drainContender, type RelaySetting } from "./drain-contender.ts";

/** A tenth of the events: it takes ten times as long. */
const SHARE = 10;

export async function contenders({ database, processes, events: all, subjects }: RelaySetting) {
  const utils = await makeWorkerUtils({ connectionString: database.url });
  await utils.migrate();
  const events = all / SHARE;
  // Several jobs in one statement, in the order in which they are to be run.
  const fill = () =>
    utils.withPgClient((client) =>
      client.query(
        `SELECT graphile_worker.add_jobs(array(
           SELECT ('publish', json_build_object('tenant', 'acme', 'subject', 'counter/cnt_' || n % $2, 'sequence', n / $2 + 1),
                   null, null, null, null, null, null)::graphile_worker.job_spec
             FROM generate_series(0, $1 - 1) AS n ORDER BY n))`,
        [events, subjects],
      ),
    );
  const contender = await drainContender(
    { database, processes, events },
    {
      subject: subjectOf("graphile-worker"),
      note: "runs jobs as they come, ten at a time in each process: keeps no order",
      file: "./graphile-drainer.peer.ts",
      fill,
      outbox: "graphile_worker._private_jobs",
    },
  );
  const close = async () => {
    await contender.close?.();
    await utils.release();
  };
  return [{ ...contender, close }];
}
