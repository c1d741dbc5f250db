import { CommandHandler, type Event, NO_CONCURRENCY_CHECK } from "@event-driven-io/emmett";
import { getPostgreSQLEventStore } from "@event-driven-io/emmett-postgresql";
import { Pool } from "pg";
import { type CountInput, countInput, countOutput } from "../counters.ts";
import { subjectOf } from "../peers.ts";
import { changes, rowsOf } from "./changes.ts";
import type { CommandSetting } from "./command.ts";

type Counted = Event<"counter.counted", { by: number; note: string }>;
interface State {
  readonly value: number;
}
const PEER = "@event-driven-io/emmett-postgresql";

export async function contenders({ database, callers, connections }: CommandSetting) {
  const pool = new Pool({ connectionString: database.url, max: connections });
  pool.on("error", () => {}); // the server ends what is still connected when the database is dropped
  const store = getPostgreSQLEventStore(database.url, { connectionOptions: { pooled: true, pool } });
  await store.schema.migrate();
  const evolve = (state: State, { data }: Counted): State => ({ value: state.value + data.by });
  const handle = CommandHandler<State, Counted>({ evolve, initialState: () => ({ value: 0 }) });
  const counted = ({ by, note }: CountInput): Counted => ({ type: "counter.counted", data: { by, note } });

  const command = async (input: CountInput) => {
    const asked = countInput.parse(input);
    const { newState } = await handle(store, `handled-${asked.counterId}`, () => counted(asked));
    return countOutput.parse(newState);
  };
  const append = (input: CountInput) =>
    store.appendToStream<Counted>(`appended-${input.counterId}`, [counted(input)], {
      expectedStreamVersion: NO_CONCURRENCY_CHECK,
    });
  const written = (prefix: string) => () => rowsOf(database.pool, [`emt_messages WHERE stream_id LIKE '${prefix}-%'`]);
  return [
    changes(subjectOf(PEER, "CommandHandler"), callers, command, written("handled"), {
      note: "reads the stream and appends: no audit, no row-level security",
    }),
    changes(subjectOf(PEER, "appendToStream"), callers, append, written("appended"), {
      note: "appends without reading or deciding: no audit, no row-level security, no version check",
      close: async () => {
        await store.close();
        await pool.end();
      },
    }),
  ];
}
