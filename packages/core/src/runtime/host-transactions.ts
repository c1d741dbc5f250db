import type { ContextDefinition } from "../kernel/context.ts";
import { HostTransactionUnsupported, HostTransactionUnusable, NotWithinTransaction } from "../kernel/port-errors.ts";
import type { Principal } from "../kernel/principal.ts";
import type { HostTransaction, TransactionClient, TransactionStore } from "../kernel/store-adapter.ts";
import { BackgroundWork } from "./background-work.ts";
import { clientOf } from "./client.ts";
import type { Calls } from "./handler-context.ts";
import type { Pipeline } from "./pipeline.ts";
import type { LifecycleEvents, RuntimePorts } from "./runtime-ports.ts";

/** A pipeline over the store of one transaction, and what its commits have changed so far. */
export interface PipelineWithin {
  readonly pipeline: Pipeline;
  readonly changed: {
    readonly contexts: ReadonlySet<string>;
    /** Those whose executions it has started or signaled. */
    readonly executions: ReadonlySet<string>;
    /** When the earliest of the timers that were set is due; infinite without one. */
    readonly dueAt: number;
  };
}

interface Parts {
  readonly ports: Pick<RuntimePorts, "store" | "clock" | "logger" | "lifecycle">;
  readonly contexts: readonly ContextDefinition[];
  readonly over: (store: TransactionStore) => PipelineWithin;
  readonly background: BackgroundWork;
}

const FIRST_LOOK_MS = 5;
const LONGEST_WAIT_MS = 1_000;

/** Runs calls inside transactions that the host has open. */
export class HostTransactions {
  readonly #parts: Parts;
  readonly #actions: ReadonlySet<string>;
  readonly #stop = new AbortController();
  readonly #endings = new BackgroundWork();

  constructor(parts: Parts) {
    this.#parts = parts;
    this.#actions = new Set(
      parts.contexts.flatMap(({ contract: { name, operations } }) =>
        Object.entries(operations).flatMap(([key, { kind }]) => (kind === "action" ? [`${name}.${key}`] : [])),
      ),
    );
  }

  /** Gives the function clients that work inside of the client's transaction, until it and its calls have ended. */
  within<T>(principal: Principal, client: TransactionClient, run: (clients: never) => T | Promise<T>): Promise<T> {
    return this.#parts.background.track(this.#within(principal, client, run));
  }

  /** Waits for no host's commit any more. */
  stop(): void {
    this.#stop.abort();
  }

  /** Resolves when what nobody waits for has ended too: refusals that are written down, handlers that were given up. */
  ended(): Promise<void> {
    return this.#endings.ended();
  }

  async #within<T>(principal: Principal, client: TransactionClient, run: (clients: never) => T | Promise<T>) {
    const { store } = this.#parts.ports;
    if (store.within === undefined) throw new HostTransactionUnsupported({});
    const transaction = await store.within(client);
    const { pipeline, changed } = this.#parts.over(transaction.store);
    let left = false;
    const calls: Pick<Calls, "call" | "stream"> = {
      call: async (id, input, request) => {
        if (left) throw new HostTransactionUnusable({ reason: "left" });
        // Typed callers do not see actions; others are told why.
        if (this.#actions.has(id)) throw new NotWithinTransaction({ operation: id, operationKind: "action" });
        return pipeline.call(id, input, request);
      },
      stream: (id) => {
        throw new NotWithinTransaction({ operation: id, operationKind: "stream" });
      },
    };
    try {
      const clients = this.#parts.contexts.map(({ contract }) => [
        contract.name,
        clientOf(calls, contract, { principal }),
      ]);
      return await run(Object.fromEntries(clients) as never);
    } finally {
      left = true;
      // A call that nobody waited for is part of the transaction all the same.
      await pipeline.answered();
      await transaction.leave();
      // Refusals are written down outside, and may have to wait for this transaction's own connection.
      void this.#endings.track(pipeline.ended());
      const { contexts, executions, dueAt } = changed;
      if (contexts.size > 0)
        void this.#tellOfCommit(transaction, {
          tenant: principal.tenant,
          contexts: [...contexts],
          ...(executions.size === 0 ? {} : { executions: [...executions] }),
          ...(dueAt === Number.POSITIVE_INFINITY ? {} : { dueAt }),
        });
    }
  }

  // Only the host knows when it commits, so what listens to commits is told once the database says that it has.
  async #tellOfCommit(transaction: HostTransaction, committed: LifecycleEvents["committed"]) {
    const { clock, lifecycle, logger } = this.#parts.ports;
    for (let wait = FIRST_LOOK_MS; ; wait = Math.min(wait * 2, LONGEST_WAIT_MS)) {
      try {
        await clock.sleep(wait, this.#stop.signal);
      } catch {
        return; // the application closes
      }
      try {
        const outcome = await transaction.outcome();
        if (outcome === "committed") lifecycle.emit("committed", committed);
        if (outcome !== "open") return;
      } catch (error) {
        if (this.#stop.signal.aborted) return;
        logger.warn("It is not known yet whether a transaction of the host's was committed", { error: String(error) });
      }
    }
  }
}
