import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { z } from "zod";

const reply = z.object({
  id: z.number(),
  value: z.unknown().optional(),
  error: z
    .object({ code: z.string(), kind: z.string().default("internal"), message: z.string() })
    .loose()
    .optional(),
});

/** What a process says without being asked. */
const note = z.object({ note: z.unknown() });

/** What the victim answered an order with, when it was an error. */
export class VictimError extends Error {
  readonly code: string;
  readonly kind: string;

  constructor(error: { readonly code: string; readonly kind: string; readonly message: string }) {
    super(error.message);
    this.code = error.code;
    this.kind = error.kind;
  }
}

/** A process of its own that holds the store, to be killed. */
export class Victim {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, { resolve(value: unknown): void; reject(error: Error): void }>();
  /** Resolves when it has ended, whoever ended it. */
  readonly ended: Promise<void>;
  #next = 1;

  private constructor(child: ChildProcess, heard: (note: unknown) => void) {
    this.#child = child;
    child.on("message", (message) => {
      const told = note.safeParse(message);
      if (told.success) return heard(told.data.note);
      const { id, value, error } = reply.parse(message);
      const order = this.#waiting.get(id);
      this.#waiting.delete(id);
      if (error !== undefined) order?.reject(new VictimError(error));
      else order?.resolve(value);
    });
    this.ended = new Promise((resolve) => {
      child.once("exit", () => {
        for (const { reject } of this.#waiting.values()) reject(new Error("the process ended"));
        this.#waiting.clear();
        resolve();
      });
    });
  }

  /** @param heard what the process says as `{ note }`, without being asked */
  static async start(
    env: Readonly<Record<string, string>>,
    program = new URL("victim.ts", import.meta.url),
    heard: (note: unknown) => void = () => undefined,
  ): Promise<Victim> {
    const child = fork(fileURLToPath(program), {
      execArgv: ["--conditions=@armature/source"],
      env: { ...process.env, ...env },
      stdio: ["ignore", "ignore", "inherit", "ipc"],
    });
    const victim = new Victim(child, heard);
    await new Promise((resolve, reject) => victim.#waiting.set(0, { resolve, reject }));
    return victim;
  }

  /** Has it carry out an order; rejects with `VictimError`, or when it dies. */
  order<T>(what: { readonly do: string; readonly [field: string]: unknown }): Promise<T> {
    const id = this.#next;
    this.#next += 1;
    return new Promise<unknown>((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#child.send({ ...what, id }, (error) => {
        // It died before its end was noticed.
        if (error === null || !this.#waiting.delete(id)) return;
        reject(new Error("the process ended"));
      });
    }) as Promise<T>;
  }

  async kill(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.ended;
  }
}
