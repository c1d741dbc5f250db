import type { IncomingMessage, ServerResponse } from "node:http";
import { z } from "zod";
import { parse, parseJson, readText, sendJson } from "./loopback-server.ts";

const moment = z.enum(["before", "after"]);

/** A way in which an outside system misbehaves. `before` and `after` mean: before or after it has done what was asked. */
export const faultSchema = z.discriminatedUnion("kind", [
  /** Answers, but late. */
  z.strictObject({ kind: z.literal("slow"), when: moment, ms: z.int().min(0).max(600_000) }),
  /** Does not answer until the fault is lifted or the caller has gone. */
  z.strictObject({ kind: z.literal("hang"), when: moment }),
  /** Closes the connection without an answer. */
  z.strictObject({ kind: z.literal("cut"), when: moment }),
  /** Answers with this status and does nothing. */
  z.strictObject({
    kind: z.literal("status"),
    status: z.int().min(400).max(599),
    retryAfter: z.string().max(40).optional(),
  }),
  /** Answers 200 with something that is called JSON and is not. */
  z.strictObject({ kind: z.literal("garbage") }),
  /** Answers 200 with JSON that nobody asked for. */
  z.strictObject({ kind: z.literal("wrong-shape") }),
  /** Answers 200 with more bytes than a caller should swallow. */
  z.strictObject({ kind: z.literal("oversized"), bytes: z.int().positive().max(100_000_000) }),
  /** Sends the caller elsewhere: to a private address, say. */
  z.strictObject({ kind: z.literal("redirect"), to: z.url().default("http://127.0.0.1:1/") }),
]);
export type Fault = z.output<typeof faultSchema>;

const requestSchema = z.strictObject({
  fault: faultSchema,
  /** How many requests it strikes; every one until it is lifted when absent. */
  times: z.int().positive().optional(),
  /** Only requests with this method. */
  method: z.enum(["GET", "POST", "PATCH"]).optional(),
});

/**
 * Faults on demand. Nothing here is part of what a real system offers: it exists so that a demo and tests can show what
 * happens when an outside system misbehaves at a moment of their choice.
 */
export class Simulation {
  #fault: { readonly fault: Fault; left: number; readonly method: string | undefined } | undefined;
  #held = 0;
  readonly #release = new Set<() => void>();
  readonly #watchers = new Set<() => void>();

  /** The next `times` requests (all, when absent) with this method (any, when absent) meet the fault. */
  set(fault: z.input<typeof faultSchema>, only: { readonly times?: number; readonly method?: string } = {}): void {
    this.#fault = {
      fault: faultSchema.parse(fault),
      left: only.times ?? Number.POSITIVE_INFINITY,
      method: only.method,
    };
  }

  /** Lifts the fault; requests that it holds go on. */
  lift(): void {
    this.#fault = undefined;
    for (const release of [...this.#release]) release();
  }

  /** How many requests a `slow` or `hang` holds right now. */
  get held(): number {
    return this.#held;
  }

  /** Resolves once at least `count` requests are held. */
  async untilHeld(count: number): Promise<void> {
    while (this.#held < count) {
      await new Promise<void>((resolve) => {
        this.#watchers.add(resolve);
      });
    }
  }

  /**
   * Runs a request through the fault that is set, if any. `work` does what was asked, `answer` sends its result; a
   * fault may keep either from happening.
   */
  async through<Result>(
    request: IncomingMessage,
    response: ServerResponse,
    work: () => Promise<Result>,
    answer: (result: Result) => void | Promise<void>,
  ): Promise<void> {
    const fault = this.#take(request.method);
    if (fault !== undefined && strike(fault, response)) return;
    if (!(await this.#pass(fault, "before", response))) return;
    const result = await work();
    if (!(await this.#pass(fault, "after", response))) return;
    await answer(result);
  }

  /** Answers `/simulate/fault` and `/simulate/held`; false when the path is another one. */
  async control(request: IncomingMessage, response: ServerResponse, url: URL): Promise<boolean> {
    switch (`${request.method} ${url.pathname}`) {
      case "PUT /simulate/fault": {
        const { fault, times, method } = parseJson(requestSchema, await readText(request));
        this.set(fault, { ...(times && { times }), ...(method && { method }) });
        sendJson(response, 200, { fault });
        return true;
      }
      case "DELETE /simulate/fault":
        this.lift();
        sendJson(response, 200, { fault: null });
        return true;
      case "GET /simulate/held": {
        const { count } = parse(z.object({ count: z.coerce.number().int().positive().default(1) }), {
          count: url.searchParams.get("count") ?? undefined,
        });
        await this.untilHeld(count);
        sendJson(response, 200, { held: this.#held });
        return true;
      }
      default:
        return false;
    }
  }

  #take(method: string | undefined): Fault | undefined {
    const set = this.#fault;
    if (set === undefined || (set.method !== undefined && set.method !== method)) return undefined;
    set.left -= 1;
    if (set.left <= 0) this.#fault = undefined;
    return set.fault;
  }

  /** Waits as the fault says; false when the request ends here. */
  async #pass(fault: Fault | undefined, when: "before" | "after", response: ServerResponse): Promise<boolean> {
    if (fault === undefined || !("when" in fault) || fault.when !== when) return true;
    if (fault.kind === "cut") {
      response.destroy();
      return false;
    }
    await this.#hold(response, fault.kind === "slow" ? fault.ms : undefined);
    // A slow system still does what it was asked after the caller has gone; a hung one never gets to it.
    return fault.kind === "slow" || !response.destroyed;
  }

  /** Until the time is over or, without one, until the fault is lifted or the caller has gone. */
  async #hold(response: ServerResponse, ms: number | undefined): Promise<void> {
    await new Promise<void>((resolve) => {
      let timer: NodeJS.Timeout | undefined;
      const go = () => {
        clearTimeout(timer);
        this.#release.delete(go);
        response.off("close", go);
        this.#held -= 1;
        resolve();
      };
      if (ms === undefined) response.once("close", go);
      else timer = setTimeout(go, ms);
      this.#release.add(go);
      this.#held += 1;
      for (const watcher of this.#watchers) watcher();
      this.#watchers.clear();
    });
  }
}

/** Answers as the fault says; false when the fault is one that lets the request through. */
function strike(fault: Fault, response: ServerResponse): boolean {
  switch (fault.kind) {
    case "status":
      sendJson(
        response,
        fault.status,
        { error: { code: "simulated", message: "This failure was asked for." } },
        fault.retryAfter === undefined ? {} : { "retry-after": fault.retryAfter },
      );
      return true;
    case "garbage":
      response.writeHead(200, { "content-type": "application/json" }).end("<html>Bad gateway</html>");
      return true;
    case "wrong-shape":
      sendJson(response, 200, { surprise: [true, null, 42] });
      return true;
    case "oversized":
      response.writeHead(200, { "content-type": "application/json" }).end(`"${"x".repeat(fault.bytes - 2)}"`);
      return true;
    case "redirect":
      response.writeHead(302, { location: fault.to }).end();
      return true;
    default:
      return false;
  }
}
