import type { FreshDatabase } from "../../packages/adapter-postgres/src/fresh-database.ts";
import type { Contender } from "../work.ts";
import { Processes } from "./processes.ts";
import { orderOf } from "./publications.ts";

/** What is drained, and by how many. */
export interface RelaySetting {
  readonly database: FreshDatabase;
  readonly processes: number;
  readonly events: number;
  readonly subjects: number;
}

/** A contender whose rounds fill an outbox and have processes drain it; it also knows what was out of order. */
export interface DrainContender extends Contender {
  readonly reorders: readonly number[];
}

export async function drainContender(
  { database, processes, events }: Omit<RelaySetting, "subjects">,
  options: Pick<Contender, "subject" | "note"> & {
    readonly file: string;
    readonly fill: () => Promise<unknown>;
    /** The table that is empty when all is done. */
    readonly outbox: string;
  },
): Promise<DrainContender> {
  const { subject, note, file, fill, outbox } = options;
  const started = await Processes.start({ file, url: database.url, name: database.name, processes });
  const reorders: number[] = [];
  const empty = async () => {
    const { rows } = await database.pool.query(`SELECT NOT EXISTS (SELECT FROM ${outbox}) AS empty`);
    return rows[0].empty as boolean;
  };
  return {
    subject,
    ...(note === undefined ? {} : { note }),
    reorders,
    measure: async () => {
      await fill();
      const seconds = await started.drain(events, empty);
      const order = orderOf(await started.logs());
      if (order.distinct !== events) throw new Error(`${subject} published ${order.distinct} of ${events} events.`);
      reorders.push(order.reorders);
      await database.pool.query(`VACUUM ${outbox}`);
      return events / seconds;
    },
    close: () => started.close(),
  };
}
