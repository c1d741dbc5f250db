import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import type { Ask, Told } from "./server.ts";

type Answer<T> = Extract<Told, { readonly told: T }>;

/** The server under test, in a process of its own. */
export class Serving {
  readonly origin: string;
  /** Errors that it has logged. */
  readonly failures: string[] = [];
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess, origin: string) {
    this.#child = child;
    this.origin = origin;
    child.on("message", (message: Told) => {
      if (message.told === "failed") this.failures.push(message.message);
    });
  }

  static async start(env: Readonly<Record<string, string>>): Promise<Serving> {
    const child = fork(fileURLToPath(new URL("server.ts", import.meta.url)), {
      execArgv: ["--conditions=@armature/source"],
      env: { ...process.env, ...env },
      stdio: ["ignore", "inherit", "inherit", "ipc"],
    });
    const ready = await told(child, "ready");
    return new Serving(child, ready.origin);
  }

  get running(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  get pid(): number {
    return this.#child.pid!;
  }

  /** An API key of a new account that may do everything. */
  async key(): Promise<Answer<"key">> {
    return this.#ask("key");
  }

  /** Ids of connectors that have just been connected. */
  async connectors(): Promise<readonly string[]> {
    return (await this.#ask("connectors")).ids;
  }

  /** Ids of approvals that have just been asked for: of the action "listContacts", without arguments. */
  async approvals(): Promise<readonly string[]> {
    return (await this.#ask("approvals")).ids;
  }

  /** Ids of executions that have just been started: half of them wait, the others fail. */
  async executions(): Promise<readonly string[]> {
    return (await this.#ask("executions")).ids;
  }

  /** Ids of agents' runs that have just been started, and take some seconds. */
  async runs(): Promise<readonly string[]> {
    return (await this.#ask("runs")).ids;
  }

  /** Keys of commands of the context "bells" that have just been scheduled. */
  async scheduled(): Promise<readonly string[]> {
    return (await this.#ask("scheduled")).keys;
  }

  /** What it holds after a collection of garbage, in bytes, and how many messages wait in its outboxes. */
  async memory(): Promise<Answer<"memory">> {
    return this.#ask("memory");
  }

  /** Has it shut down, and tells what became of the requests that it had begun to answer. */
  async close(): Promise<Answer<"closed"> & { readonly exitCode: number | null }> {
    const exit = once(this.#child, "exit");
    const closed = told(this.#child, "closed");
    this.#child.send({ ask: "close" } satisfies Ask);
    const requests = await closed;
    const [exitCode] = await exit;
    return { ...requests, exitCode: exitCode as number | null };
  }

  async kill(): Promise<void> {
    if (!this.running) return;
    const exit = once(this.#child, "exit");
    this.#child.kill("SIGKILL");
    await exit;
  }

  #ask<T extends Exclude<Ask["ask"], "close">>(ask: T): Promise<Answer<T>> {
    this.#child.send({ ask } satisfies Ask);
    return told(this.#child, ask);
  }
}

function told<T extends Told["told"]>(child: ChildProcess, kind: T): Promise<Answer<T>> {
  return new Promise((resolve, reject) => {
    const ended = () => reject(new Error("The server ended."));
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
