import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { z } from "zod";

const reply = z.object({
  id: z.number(),
  value: z.unknown().optional(),
  error: z.object({ code: z.string(), message: z.string() }).loose().optional(),
});

/** What the victim answered an order with, when it was an error. */
export class VictimError extends Error {
  readonly code: string;

  constructor(error: { readonly code: string; readonly message: string }) {
    super(error.message);
    this.code = error.code;
  }
}

/** A process of its own that holds the store, to be killed. */
export class Victim {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, { resolve(value: unknown): void; reject(error: Error): void }>();
  #next = 1;

  private constructor(child: ChildProcess) {
    this.#child = child;
    child.on("message", (message) => {
      const { id, value, error } = reply.parse(message);
      const order = this.#waiting.get(id);
      this.#waiting.delete(id);
      if (error !== undefined) order?.reject(new VictimError(error));
      else order?.resolve(value);
    });
    child.once("exit", () => {
      for (const { reject } of this.#waiting.values()) reject(new Error("the process ended"));
      this.#waiting.clear();
    });
  }

  static async start(env: Readonly<Record<string, string>>): Promise<Victim> {
    const child = fork(fileURLToPath(new URL("victim.ts", import.meta.url)), {
      execArgv: ["--conditions=@armature/source"],
      env: { ...process.env, ...env },
      stdio: ["ignore", "ignore", "inherit", "ipc"],
    });
    const victim = new Victim(child);
    await new Promise((resolve, reject) => victim.#waiting.set(0, { resolve, reject }));
    return victim;
  }

  /** Has it carry out an order; rejects with `VictimError`, or when it dies. */
  order<T>(what: { readonly do: string; readonly [field: string]: unknown }): Promise<T> {
    const id = this.#next;
    this.#next += 1;
    return new Promise<unknown>((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#child.send({ ...what, id });
    }) as Promise<T>;
  }

  async kill(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    this.#child.kill("SIGKILL");
    await once(this.#child, "exit");
  }
}
