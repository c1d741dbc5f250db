import { inTurns, sequentially } from "../rounds.ts";
import { toRows } from "../rows.ts";
import type { Bench, Contender, Work } from "../work.ts";
import { drained } from "./drain.ts";
import { counterOf, NOTE, type Seeded, type Size, seeded, tenantOf } from "./seeded.ts";

const numbers = new Intl.NumberFormat("en-US");

/** What costs more when there is more of something, and what does not. */
export const growth: Work = {
  name: "growth",
  about: "what a call costs, one after the other, when there is much more of one thing than before",
  run: async (bench) => {
    const many = bench.quick ? 10 : 1_000;
    // As many counters in all, of few tenants or of many.
    const tenants = { counters: 10, versions: 1, waiting: false };
    const few = await opened(bench, { ...tenants, tenants: 10, counters: 10 * many });
    await compared(
      bench,
      "tenants",
      few,
      await opened(bench, { ...tenants, tenants: 10 * many }),
      ({ tenants: of }) => of,
    );

    const events = { tenants: 10, counters: 10, versions: 10, waiting: false };
    const long = await opened(bench, { ...events, versions: 10 * many });
    const eventsOf = (size: Size) => size.tenants * size.counters * size.versions;
    await compared(bench, "events", await opened(bench, events), long, eventsOf);

    const behind = await opened(bench, { ...long.size, waiting: true });
    await compared(bench, "waiting", long, behind, (size) => (size.waiting ? eventsOf(size) : 0));
    const backlog = await behind.database.pool.query("SELECT count(*)::int AS rows FROM counters.outbox");
    await drained(bench, behind.database, backlog.rows[0].rows);
  },
};

type Opened = Seeded & { readonly database: Awaited<ReturnType<Bench["database"]>> };

async function opened(bench: Bench, size: Size): Promise<Opened> {
  const database = await bench.database();
  const made = await seeded(database, size);
  bench.defer(() => made.close());
  return { ...made, database };
}

/** Three calls on the smaller and the larger in turns, and how much more the larger one costs. */
async function compared(
  bench: Bench,
  of: string,
  small: Opened,
  large: Opened,
  amount: (size: Size) => number,
): Promise<void> {
  for (const call of ["count", "get", "list"] as const) {
    const work = `growth ${of}: ${call}`;
    const [less, more] = [amount(small.size), amount(large.size)].map((count) => numbers.format(count));
    const contenders = [caller("armature", small, call), caller(`armature (${more} instead of ${less})`, large, call)];
    const [few, lots] = await inTurns({ work, unit: "µs", rounds: 7, contenders }, bench.quick);
    bench.add(toRows(work, "µs", [few!, lots!]));
    const ratios = lots!.values.map((value, round) => value / few!.values[round]!);
    bench.add(toRows(`${work}, how much more`, "×", [{ subject: "armature", values: ratios }]));
  }
}

/** Goes through all tenants, and through their counters. */
function caller(subject: string, { app, size }: Seeded, call: "count" | "get" | "list"): Contender {
  let number = 0;
  return {
    subject,
    measure: (ms) =>
      sequentially(ms, () => {
        number += 1;
        const { counters } = app.as({ tenant: tenantOf(1 + (number % size.tenants)), user: "ann" });
        const counterId = counterOf(Math.floor(number / size.tenants) % size.counters);
        if (call === "count") return counters.count({ counterId, by: 1, note: NOTE });
        return call === "get" ? counters.get({ counterId }) : counters.list({ note: NOTE, limit: 10 });
      }),
  };
}
