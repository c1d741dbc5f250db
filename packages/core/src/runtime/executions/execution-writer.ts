import type { Executions, ExecutionWrite } from "../../kernel/executions.ts";

interface Waiting {
  readonly write: ExecutionWrite;
  resolve(written: boolean): void;
  reject(error: unknown): void;
}

/** Round trips at a time. */
const LANES = 2;
const MOST = 64;

/** Writes what many executions have to have written, all of a moment in one round trip. */
export class ExecutionWriter {
  readonly #executions: Pick<Executions, "write">;
  readonly #context: string;
  #waiting: Waiting[] = [];
  #lanes = 0;

  constructor(executions: Pick<Executions, "write">, context: string) {
    this.#executions = executions;
    this.#context = context;
  }

  /** Whether it was written; not when another worker holds the execution. */
  write(write: ExecutionWrite): Promise<boolean> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ write, resolve, reject });
      // Others that have come to the same point in this turn come along.
      if (this.#waiting.length === 1) setImmediate(() => this.#begin());
    });
  }

  #begin(): void {
    while (this.#lanes < LANES && this.#waiting.length > 0) {
      const batch = this.#waiting.splice(0, MOST);
      this.#lanes += 1;
      void this.#send(batch).finally(() => {
        this.#lanes -= 1;
        this.#begin();
      });
    }
  }

  async #send(batch: readonly Waiting[]): Promise<void> {
    try {
      const results = await this.#executions.write(
        this.#context,
        batch.map(({ write }) => write),
      );
      batch.forEach(({ resolve }, at) => void resolve(results[at] === "written"));
    } catch (error) {
      // One that cannot be written must not keep those of others from being written.
      if (batch.length > 1) for (const each of batch) await this.#send([each]);
      else for (const { reject } of batch) reject(error);
    }
  }
}
