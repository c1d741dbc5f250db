import { toInstant } from "../../kernel/clock.ts";
import type { ActionContext } from "../../kernel/context.ts";
import { InvalidInput } from "../../kernel/errors.ts";
import {
  AddressRefused,
  ProviderAnsweredGarbage,
  ProviderTimedOut,
  ProviderUnreachable,
} from "../../kernel/port-errors.ts";
import type { HttpClient, HttpRequest, HttpResponse } from "../../kernel/ports.ts";
import type { Connectors } from "./contract.ts";
import { meaningOf, type Verdict } from "./verdict.ts";

/** Requests that no action of the provider makes: looking whether a credential works, and having tokens. */
export const HEALTH = "$health";
export const TOKEN = "$token";

/** Who counts: the call, the connector, and the action that the requests are made for. */
export interface UsageOf {
  readonly ctx: Pick<ActionContext<Connectors, never>, "count" | "clock">;
  readonly connectorId: string;
  readonly action: string;
}

/** A request that may have reached the provider, and what came of it. */
interface Exchanged {
  readonly body: HttpRequest["body"];
  readonly retry: boolean;
  readonly begun: number;
  readonly answer?: HttpResponse | undefined;
  /** What the answer means. */
  readonly meaning?: Verdict["meaning"] | undefined;
  /** Thrown in place of an answer. */
  readonly error?: unknown;
}

/** Where an hour's numbers are: first by day and connector, so that one connector's day is read in one piece. */
export function usageKey(connectorId: string, action: string, at: number): string {
  const time = toInstant(at);
  return `usage/${time.slice(0, 10)}/${connectorId}/${time.slice(11, 13)}/${action}`;
}

/** Counts an answer that was given without asking the provider. */
export function countCached({ ctx, connectorId, action }: UsageOf): void {
  ctx.count(usageKey(connectorId, action, ctx.clock.now()), { cached: 1 });
}

/** Counts a request. One that never left is none. */
export function countRequest({ ctx, connectorId, action }: UsageOf, exchanged: Exchanged): void {
  const { body, retry, begun, answer, meaning, error } = exchanged;
  if (answer === undefined && (error instanceof AddressRefused || error instanceof InvalidInput)) return;
  const now = ctx.clock.now();
  const failure = answer === undefined ? failureOf(error) : FAILURES[meaning ?? "fine"];
  ctx.count(usageKey(connectorId, action, now), {
    requests: 1,
    retries: retry ? 1 : 0,
    ...(failure === undefined ? {} : { [failure]: 1 }),
    bytesSent: sizeOf(body),
    bytesReceived: answer?.bytes().byteLength ?? 0,
    milliseconds: Math.max(0, Math.round(now - begun)),
  });
}

/** Sends to a token endpoint; what goes there counts too. */
export function countedTokens(of: UsageOf, http: HttpClient): HttpClient["send"] {
  return async (request) => {
    const exchanged = { body: request.body, retry: false, begun: of.ctx.clock.now() };
    let answer: HttpResponse;
    try {
      answer = await http.send(request);
    } catch (error) {
      countRequest(of, { ...exchanged, error });
      throw error;
    }
    countRequest(of, { ...exchanged, answer, meaning: meaningOf(answer.status) });
    return answer;
  };
}

const FAILURES = {
  fine: undefined,
  refused: "refused",
  elsewhere: "refused",
  limited: "limited",
  outage: "outage",
  credential: "credential",
} as const satisfies Record<Verdict["meaning"], string | undefined>;

// Who gave up has seen no failure of the provider's.
function failureOf(error: unknown): "outage" | undefined {
  const failed =
    error instanceof ProviderUnreachable ||
    error instanceof ProviderTimedOut ||
    error instanceof ProviderAnsweredGarbage;
  return failed ? "outage" : undefined;
}

function sizeOf(body: HttpRequest["body"]): number {
  return body === undefined ? 0 : Buffer.byteLength(body instanceof Uint8Array ? body : String(body));
}
