import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { Ask, DrainSetting, Told } from "./drainer.ts";
import type { Publications } from "./publications.ts";

const LONGEST_MS = 120_000;

/** Processes that drain one outbox together. */
export class Processes {
  readonly #children: readonly ChildProcess[];
  #published = 0;

  private constructor(children: readonly ChildProcess[]) {
    this.#children = children;
    for (const child of children)
      child.on("message", (message: Told) => {
        if (message.told === "published") this.#published += message.count;
      });
  }

  static async start(setting: DrainSetting): Promise<Processes> {
    const children = Array.from({ length: setting.processes }, () =>
      fork(fileURLToPath(new URL("process.ts", import.meta.url)), [JSON.stringify(setting)], {
        execArgv: ["--conditions=@armature/source"],
        serialization: "advanced",
      }),
    );
    await Promise.all(children.map((child) => told(child, "ready")));
    return new Processes(children);
  }

  /** Has them drain until so many are published and nothing is left; the seconds that it took. */
  async drain(events: number, empty: () => Promise<boolean>): Promise<number> {
    this.#published = 0;
    const start = performance.now();
    this.#ask("drain");
    while (this.#published < events || !(await empty())) {
      if (performance.now() - start > LONGEST_MS)
        throw new Error(`Only ${this.#published} of ${events} events were published in ${LONGEST_MS / 1000} s.`);
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    return (performance.now() - start) / 1000;
  }

  /** What each has published since the last time. */
  async logs(): Promise<readonly Publications[]> {
    const logs = Promise.all(this.#children.map((child) => told(child, "log")));
    this.#ask("log");
    return (await logs).map(({ log }) => log);
  }

  async close(): Promise<void> {
    const closed = Promise.all(this.#children.map((child) => told(child, "closed")));
    this.#ask("close");
    await closed;
  }

  #ask(ask: Ask["ask"]): void {
    for (const child of this.#children) child.send({ ask } satisfies Ask);
  }
}

type Answer<T> = Extract<Told, { readonly told: T }>;

function told<T extends Told["told"]>(child: ChildProcess, kind: T): Promise<Answer<T>> {
  return new Promise((resolve, reject) => {
    const ended = () => reject(new Error("A draining process ended."));
    const listen = (message: Told) => {
      if (message.told !== kind) return;
      child.off("message", listen);
      child.off("exit", ended);
      resolve(message as Answer<T>);
    };
    child.on("message", listen);
    child.once("exit", ended);
  });
}
