import type { AggregateRef, Store, StoredAggregate } from "../kernel/store.ts";
import type { CallInfo } from "./call-info.ts";

interface PendingLoad {
  readonly ref: AggregateRef;
  resolve(stored: StoredAggregate | undefined): void;
  reject(error: unknown): void;
}

/** Loads of one turn of the event loop, which go to the store together. */
export class BatchedLoads {
  readonly #store: Pick<Store, "load">;
  readonly #call: CallInfo;
  readonly #queues = new Map<string, PendingLoad[]>();

  constructor(store: Pick<Store, "load">, call: CallInfo) {
    this.#store = store;
    this.#call = call;
  }

  load(context: string, ref: AggregateRef): Promise<StoredAggregate | undefined> {
    return new Promise((resolve, reject) => {
      const queue = this.#queues.get(context);
      if (queue !== undefined) {
        queue.push({ ref, resolve, reject });
        return;
      }
      this.#queues.set(context, [{ ref, resolve, reject }]);
      queueMicrotask(() => void this.#flush(context));
    });
  }

  async #flush(context: string): Promise<void> {
    const batch = this.#queues.get(context) ?? [];
    this.#queues.delete(context);
    try {
      const scope = { tenant: this.#call.principal.tenant, context };
      const found = await this.#store.load(
        scope,
        batch.map((each) => each.ref),
      );
      batch.forEach((each, index) => void each.resolve(found[index]));
    } catch (error) {
      for (const each of batch) each.reject(error);
    }
  }
}
