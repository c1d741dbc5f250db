import type { Database, Notification, PoolClient } from "./database.ts";

/** Tells processes of one database about each other's commits. */
export interface Signals {
  announce(contexts: readonly string[]): Promise<void>;
  watch(hear: (contexts: readonly string[]) => void): { close(): Promise<void> };
}

/** Of those that have no others to tell, or are not to listen to them: who shares the store in this process hears. */
export function localSignals(): Signals {
  const hearing = new Set<(contexts: readonly string[]) => void>();
  return {
    announce: async (contexts) => {
      for (const hear of hearing) hear(contexts);
    },
    watch: (hear) => {
      const own = (contexts: readonly string[]) => hear(contexts);
      hearing.add(own);
      return {
        close: async () => {
          hearing.delete(own);
        },
      };
    },
  };
}

const CHANNEL = "armature_outbox";
const LISTEN_AGAIN_MS = 5_000;

/**
 * NOTIFY, each time as a statement of its own: inside of a commit it would make all commits of the server wait for each
 * other. LISTEN keeps one connection of the pool.
 */
export class NotifySignals implements Signals {
  readonly #database: Database;
  readonly #connect: () => Promise<PoolClient>;
  readonly #hearing = new Set<(contexts: readonly string[]) => void>();
  #listener: { close(): Promise<void> } | undefined;

  constructor(database: Database, connect: () => Promise<PoolClient>) {
    this.#database = database;
    this.#connect = connect;
  }

  async announce(contexts: readonly string[]): Promise<void> {
    await this.#database.query("armature", "announce", {
      text: "SELECT pg_notify($1, $2)",
      values: [CHANNEL, contexts.join(" ")],
    });
  }

  watch(hear: (contexts: readonly string[]) => void): { close(): Promise<void> } {
    const own = (contexts: readonly string[]) => hear(contexts);
    this.#hearing.add(own);
    this.#listener ??= this.#listen();
    return {
      close: async () => {
        this.#hearing.delete(own);
        if (this.#hearing.size > 0) return;
        const listener = this.#listener;
        this.#listener = undefined;
        await listener?.close();
      },
    };
  }

  #listen(): { close(): Promise<void> } {
    const closed = new AbortController();
    const running = this.#keepListening(closed.signal);
    return {
      close: async () => {
        closed.abort();
        await running;
      },
    };
  }

  // A connection that is lost is replaced. Until then nobody is told, and relays look by themselves.
  async #keepListening(closed: AbortSignal): Promise<void> {
    while (!closed.aborted) {
      try {
        await this.#listenOnce(closed);
      } catch {
        await wait(LISTEN_AGAIN_MS, closed);
      }
    }
  }

  async #listenOnce(closed: AbortSignal): Promise<void> {
    const client = await connected(this.#connect(), closed);
    if (client === undefined) return;
    if (client.on === undefined || client.off === undefined) {
      client.release();
      return wait(Number.POSITIVE_INFINITY, closed);
    }
    const { promise: over, resolve: end } = Promise.withResolvers<boolean>();
    const onNotification = ({ channel, payload }: Notification) => {
      if (channel !== CHANNEL || payload === undefined) return;
      for (const hear of this.#hearing) hear(payload.split(" "));
    };
    const onBroken = () => end(true);
    const onClosed = () => end(false);
    client.on("notification", onNotification);
    client.on("error", onBroken);
    client.on("end", onBroken);
    closed.addEventListener("abort", onClosed, { once: true });
    let broken = true;
    try {
      await client.query({ text: `LISTEN ${CHANNEL}` });
      if (!closed.aborted) broken = await over;
      if (!broken) await client.query({ text: `UNLISTEN ${CHANNEL}` });
    } finally {
      closed.removeEventListener("abort", onClosed);
      client.off("notification", onNotification);
      client.off("end", onBroken);
      client.release(broken);
      // What a connection says that is being ended is nobody's any more.
      if (!broken) client.off("error", onBroken);
    }
    if (broken) throw new Error("the connection was lost");
  }
}

// A pool that has none to give must not keep us from closing: what it gives later it gets back.
async function connected(connecting: Promise<PoolClient>, closed: AbortSignal): Promise<PoolClient | undefined> {
  const over = new AbortController();
  const waiting = wait(Number.POSITIVE_INFINITY, AbortSignal.any([closed, over.signal]));
  const client = await Promise.race([connecting, waiting]).finally(() => over.abort());
  if (client === undefined)
    connecting.then(
      (late) => late.release(),
      () => undefined,
    );
  return client ?? undefined;
}

function wait(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const timer = Number.isFinite(ms) ? setTimeout(end, ms) : undefined;
    signal.addEventListener("abort", end, { once: true });
    function end() {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
      resolve();
    }
  });
}
