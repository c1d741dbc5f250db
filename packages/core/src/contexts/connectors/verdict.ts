import type { HttpRequest, HttpResponse } from "../../kernel/ports.ts";
import type { ConnectorDefinition, ProviderFailure } from "./connector-definition.ts";
import { retryAfter } from "./retry-after.ts";

/** What an answer means. */
export interface Verdict {
  /** `fine` when the provider did what was asked. `elsewhere`: a redirect. */
  readonly meaning: "fine" | "elsewhere" | NonNullable<ProviderFailure["meaning"]>;
  /** The provider's own word. */
  readonly reason?: string | undefined;
  /** How long the provider wants to be left alone, in milliseconds. */
  readonly retryAfterMs?: number | undefined;
}

/** Reads an answer as the provider means it: by its status, and by what the definition knows better. */
export function judge(
  definition: ConnectorDefinition,
  answer: HttpResponse,
  method: HttpRequest["method"],
  now: number,
): Verdict {
  const byStatus = meaningOf(answer.status);
  if (byStatus === "elsewhere") return { meaning: byStatus };
  const said = failureOf(definition, answer, method, byStatus);
  const meaning = said?.meaning ?? (byStatus === "fine" && said !== undefined ? "refused" : byStatus);
  const wait = said?.retryAfterMs ?? retryAfter(answer, now) ?? definition.http.retryAfter(answer);
  return { meaning, reason: said?.reason, retryAfterMs: wait };
}

/** What an answer's status says by itself. */
export function meaningOf(status: number): Verdict["meaning"] {
  if (status >= 500) return "outage";
  if (status === 429) return "limited";
  if (status === 401) return "credential";
  if (status >= 400) return "refused";
  return status >= 300 ? "elsewhere" : "fine";
}

function failureOf(
  definition: ConnectorDefinition,
  answer: HttpResponse,
  method: HttpRequest["method"],
  byStatus: Verdict["meaning"],
): ProviderFailure | undefined {
  try {
    const said = definition.http.failure(answer, { method, url: answer.url });
    return typeof said === "string" ? { reason: said } : said;
  } catch (error) {
    // A page instead of JSON is what a proxy in trouble sends: the status says enough then.
    if (byStatus === "fine" || byStatus === "refused") throw error;
    return undefined;
  }
}
