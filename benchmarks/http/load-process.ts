// Asks over plain sockets, as little code as can be: the machine's time is the servers'.
import { connect, type Socket } from "node:net";
import { setTimeout as pause } from "node:timers/promises";
import { CHANGES } from "../counters.ts";
import type { LoadAsk, LoadResult } from "./load.ts";
import type { Served } from "./serving.ts";

const { port, key } = JSON.parse(process.argv[2]!) as Served;
const LONGEST_MS = 10_000;
const BODY = JSON.stringify({ by: 1, note: "as ordered" });
const HEADERS = [
  "host: 127.0.0.1",
  `authorization: Bearer ${key}`,
  "content-type: application/json",
  `content-length: ${BODY.length}`,
].join("\r\n");

/** One connection, on which a request follows the answer of the one before. Counters of its own, ten changes each. */
class Connection {
  readonly #name: number;
  #socket: Socket | undefined;
  #number = 0;
  #settle: ((ok: boolean) => void) | undefined;
  #text = "";

  constructor(name: number) {
    this.#name = name;
  }

  /** Whether it was answered with 200. */
  ask(): Promise<boolean> {
    this.#socket ??= this.#open();
    const path = `/counters/cnt_${this.#name}_${Math.floor(this.#number / CHANGES)}/count`;
    this.#number += 1;
    return new Promise((resolve) => {
      this.#settle = resolve;
      this.#socket!.write(`POST ${path} HTTP/1.1\r\n${HEADERS}\r\n\r\n${BODY}`);
    });
  }

  end(): void {
    this.#socket?.destroy();
  }

  #open(): Socket {
    const socket = connect({ port, host: "127.0.0.1", noDelay: true }).setTimeout(LONGEST_MS).setEncoding("latin1");
    socket.on("data", (text) => this.#heard(String(text)));
    socket.on("timeout", () => socket.destroy());
    socket.on("error", () => undefined); // it closes then
    socket.on("close", () => {
      this.#socket = undefined;
      this.#answered(false);
    });
    return socket;
  }

  #heard(text: string): void {
    this.#text += text;
    const end = this.#text.indexOf("\r\n\r\n");
    if (end === -1) return;
    const length = /\r\ncontent-length: (\d+)/i.exec(this.#text)?.[1];
    if (length === undefined) throw new Error(`An answer without its length: ${this.#text}`);
    if (this.#text.length >= end + 4 + Number(length)) this.#answered(this.#text.startsWith("HTTP/1.1 200"));
  }

  #answered(ok: boolean): void {
    this.#text = "";
    const settle = this.#settle;
    this.#settle = undefined;
    settle?.(ok);
  }
}

const connections: Connection[] = [];

process.on("message", async (ask: LoadAsk) => {
  while (connections.length < ask.connections) connections.push(new Connection(connections.length));
  const used = connections.slice(0, ask.connections);
  process.send?.(await (ask.perSecond === undefined ? closed(ask, used) : open(ask, used, ask.perSecond)));
});
process.once("disconnect", () => {
  for (const connection of connections) connection.end();
  process.exit();
});
process.send?.("ready");

async function closed({ ms }: LoadAsk, used: readonly Connection[]): Promise<LoadResult> {
  const latencies: number[] = [];
  let errors = 0;
  const start = performance.now();
  const one = async (connection: Connection) => {
    while (performance.now() - start < ms) {
      const asked = performance.now();
      if (await connection.ask()) latencies.push(performance.now() - asked);
      else errors += 1;
    }
  };
  await Promise.all(used.map(one));
  return { latencies: Float64Array.from(latencies), errors, ms: performance.now() - start };
}

/** Each request has its time. One that finds no connection free waits, and the wait is part of its latency. */
async function open({ ms }: LoadAsk, used: readonly Connection[], perSecond: number): Promise<LoadResult> {
  const latencies: number[] = [];
  let errors = 0;
  const free = [...used];
  const due: number[] = [];
  const start = performance.now();
  const total = Math.round((ms * perSecond) / 1000);
  let begun = 0;
  const serve = async (connection: Connection) => {
    for (let time = due.shift(); time !== undefined; time = due.shift()) {
      if (await connection.ask()) latencies.push(performance.now() - time);
      else errors += 1;
    }
    free.push(connection);
  };
  const serving = new Set<Promise<void>>();
  while (begun < total) {
    const reached = Math.min(total, Math.floor(((performance.now() - start) * perSecond) / 1000) + 1);
    for (; begun < reached; begun += 1) due.push(start + (begun * 1000) / perSecond);
    while (due.length > 0 && free.length > 0) {
      const work = serve(free.pop()!);
      serving.add(work);
      void work.then(() => serving.delete(work));
    }
    await pause(1);
  }
  while (serving.size > 0) await Promise.all(serving);
  return { latencies: Float64Array.from(latencies), errors, ms: performance.now() - start };
}
