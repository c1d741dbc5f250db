import { PgBoss } from "pg-boss";
import { subjectOf } from "../peers.ts";
import { changes, rowsOf } from "./changes.ts";
import type { CommandSetting } from "./command.ts";

const QUEUE = "counted";

export async function contenders({ database, callers, connections }: CommandSetting) {
  const boss = new PgBoss({ connectionString: database.url, max: connections, supervise: false, schedule: false });
  boss.on("error", () => {}); // the server ends what is still connected when the database is dropped
  await boss.start();
  await boss.createQueue(QUEUE);
  return [
    changes(
      subjectOf("pg-boss", "send"),
      callers,
      (input) => boss.send(QUEUE, input),
      () => rowsOf(database.pool, [`pgboss.job WHERE name = '${QUEUE}'`]),
      { note: "inserts one job and nothing else", close: () => boss.stop({ graceful: false }) },
    ),
  ];
}
