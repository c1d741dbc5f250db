import { type Clock, systemClock } from "../kernel/clock.ts";
import { ProviderAnsweredGarbage, ProviderTimedOut, ProviderUnreachable } from "../kernel/port-errors.ts";
import type { HttpClient, HttpRequest, HttpResponse } from "../kernel/ports.ts";
import { ReceivedResponse } from "../kernel/received-response.ts";
import { checkHeaders, checkUrl } from "../runtime/http-request.ts";
import { RecordedRequest } from "./recorded-request.ts";
import type { SimulatedAnswer } from "./simulated-answer.ts";

const DEFAULT_TIMEOUT_MS = 30_000;
const DEFAULT_MAX_BYTES = 10 * 1024 * 1024;

/** Answers a request with code: a book of contacts, a token endpoint, an expectation about what was sent. */
export type SimulatedHandler = (request: RecordedRequest) => SimulatedAnswer | Promise<SimulatedAnswer>;

type Given = Exclude<SimulatedAnswer, { readonly kind: "hang" }>;

export interface ProviderSimulatorOptions {
  /** What hanging requests are timed by. Give the app the same one; without it the machine's. */
  readonly clock?: Clock;
  /** Origins that may be called over plain http and at private addresses, as in `createArmature`. */
  readonly allowedOrigins?: readonly string[];
}

/**
 * An outside system that is played in memory: `createArmature({ http: simulator, … })` reaches nothing else, so a test
 * of a connector can have limits, garbage, lost answers and requests that hang, without a network.
 *
 * It refuses what a real client refuses (private addresses, plain http, headers that HTTP does not allow). A request
 * that no route answers fails, and `assertNoUnexpected` says so at the end of the test, whatever the code under test
 * made of the failure.
 */
export class ProviderSimulator implements HttpClient {
  readonly #clock: Clock;
  readonly #allowed: ReadonlySet<string>;
  readonly #routes = new Map<string, Route>();
  readonly #requests: RecordedRequest[] = [];
  readonly #unexpected: string[] = [];
  readonly #waiting = new Set<{ readonly count: number; resolve(): void }>();

  constructor(options: ProviderSimulatorOptions = {}) {
    this.#clock = options.clock ?? systemClock();
    this.#allowed = new Set(options.allowedOrigins ?? []);
  }

  /**
   * Says how a route is answered. Of several answers each is given once, in order, and the last one from then on:
   * `on("GET https://api.crm.example/contacts/:id", answer.status(503), answer.json({ id: "1" }))`. Said again, it
   * replaces what was said before. A query is not part of a route.
   */
  on(route: string, ...answers: readonly (SimulatedAnswer | SimulatedHandler)[]): this {
    if (answers.length === 0) throw new TypeError(`The route "${route}" needs an answer.`);
    this.#routes.set(route, new Route(route, answers));
    return this;
  }

  /** Every request that arrived, in order, the unexpected ones too. */
  get requests(): readonly RecordedRequest[] {
    return [...this.#requests];
  }

  /** Resolves as soon as at least this many requests have arrived. */
  untilRequested(count: number): Promise<void> {
    return new Promise((resolve) => {
      if (this.#requests.length >= count) return resolve();
      this.#waiting.add({ count, resolve });
    });
  }

  /** Throws when a request came that no route answers, or a handler threw. */
  assertNoUnexpected(): void {
    if (this.#unexpected.length > 0) throw new Error(this.#unexpected.join("\n"));
  }

  async send(request: HttpRequest): Promise<HttpResponse> {
    const url = checkUrl(request.url, this.#allowed);
    const headers = checkHeaders(request, "armature-simulator");
    request.signal?.throwIfAborted();
    const route = this.#routeOf(request.method, url);
    const params = route?.match(request.method, url) ?? {};
    const recorded = new RecordedRequest({ request, url, headers, at: this.#clock.now(), params });
    this.#arrived(recorded);
    if (route === undefined) throw this.#noRoute(recorded);
    return this.#deliver(await this.#answer(route, recorded, request), url, request);
  }

  // Only an answer that takes its time needs a timer: one that is there at once leaves no trace on a test's clock.
  async #answer(route: Route, recorded: RecordedRequest, request: HttpRequest): Promise<Given> {
    let given: SimulatedAnswer | Promise<SimulatedAnswer>;
    try {
      given = route.next(recorded);
    } catch (error) {
      throw this.#handlerThrew(route, error);
    }
    if ("kind" in given && given.kind !== "hang") return given;
    const { signal, timeoutMs = DEFAULT_TIMEOUT_MS } = request;
    const over = new AbortController();
    const until = signal === undefined ? over.signal : AbortSignal.any([over.signal, signal]);
    const late = this.#clock.sleep(timeoutMs, until).then((): never => {
      throw new ProviderTimedOut({ host: new URL(recorded.url).host, timeoutMs });
    });
    const answered = Promise.resolve(given).then(
      (answer) => (answer.kind === "hang" ? late : answer),
      (error) => {
        throw this.#handlerThrew(route, error);
      },
    );
    try {
      return await Promise.race([answered, late]);
    } finally {
      over.abort();
      // Whichever lost the race has nobody to tell.
      for (const each of [answered, late]) each.catch(() => {});
    }
  }

  #deliver(answer: Given, url: URL, { maxBytes = DEFAULT_MAX_BYTES }: HttpRequest): HttpResponse {
    const { host } = url;
    if (answer.kind === "unreachable") throw new ProviderUnreachable({ host, reason: answer.reason });
    const body = typeof answer.body === "string" ? new TextEncoder().encode(answer.body) : answer.body;
    if (body.byteLength > maxBytes)
      throw new ProviderAnsweredGarbage({ host, reason: `its body has more than ${maxBytes} bytes` });
    return new ReceivedResponse({ status: answer.status, headers: new Headers(answer.headers), url: url.href, body });
  }

  #arrived(recorded: RecordedRequest): void {
    this.#requests.push(recorded);
    for (const waiter of this.#waiting) {
      if (this.#requests.length < waiter.count) continue;
      this.#waiting.delete(waiter);
      waiter.resolve();
    }
  }

  #routeOf(method: string, url: URL): Route | undefined {
    const fitting = [...this.#routes.values()].filter((route) => route.match(method, url) !== undefined);
    // `/contacts/search` before `/contacts/:id`.
    return fitting.sort((a, b) => a.parameters - b.parameters)[0];
  }

  #noRoute(recorded: RecordedRequest): Error {
    const known = [...this.#routes.keys()];
    const said = `No route of the simulator answers\n  ${recorded}\nIt knows ${known.length === 0 ? "none" : known.join(", ")}.`;
    this.#unexpected.push(said);
    return new Error(said);
  }

  #handlerThrew(route: Route, error: unknown): unknown {
    this.#unexpected.push(`The handler of ${route.text} threw ${error}`);
    return error;
  }
}

/** `GET https://api.crm.example/contacts/:id`, and what it answers. */
class Route {
  readonly text: string;
  readonly parameters: number;
  readonly #method: string;
  readonly #origin: string;
  readonly #segments: readonly string[];
  readonly #answers: readonly (SimulatedAnswer | SimulatedHandler)[];
  #given = 0;

  constructor(text: string, answers: readonly (SimulatedAnswer | SimulatedHandler)[]) {
    const [, method, address] = /^([A-Z]+) (https?:\/\/[^?#]+)$/.exec(text) ?? [];
    const url = address === undefined ? null : URL.parse(address);
    if (method === undefined || url === null)
      throw new TypeError(`A route reads like "GET https://api.crm.example/contacts/:id"; "${text}" does not.`);
    this.text = text;
    this.#method = method;
    this.#origin = url.origin;
    this.#segments = url.pathname.split("/");
    this.parameters = this.#segments.filter((segment) => segment.startsWith(":")).length;
    this.#answers = answers;
  }

  /** The parameters, when the route fits. */
  match(method: string, url: URL): Readonly<Record<string, string>> | undefined {
    const segments = url.pathname.split("/");
    if (method !== this.#method || url.origin !== this.#origin || segments.length !== this.#segments.length)
      return undefined;
    const params: Record<string, string> = {};
    for (const [index, segment] of this.#segments.entries()) {
      const given = segments[index]!;
      if (segment.startsWith(":") && given !== "") params[segment.slice(1)] = decoded(given);
      else if (segment !== given) return undefined;
    }
    return params;
  }

  next(recorded: RecordedRequest): SimulatedAnswer | Promise<SimulatedAnswer> {
    const answer = this.#answers[Math.min(this.#given, this.#answers.length - 1)]!;
    this.#given += 1;
    return typeof answer === "function" ? answer(recorded) : answer;
  }
}

function decoded(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}
