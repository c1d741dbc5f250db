/** What a simulated provider does with a request. Made by `answer`. */
export type SimulatedAnswer =
  | {
      readonly kind: "response";
      readonly status: number;
      readonly headers: Readonly<Record<string, string>>;
      readonly body: string | Uint8Array;
    }
  | { readonly kind: "hang" }
  | { readonly kind: "unreachable"; readonly reason: string };

export interface AnswerOptions {
  /** 200 when absent. */
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
}

/** The answers that a provider can give, and the ways in which it can fail to. */
export const answer = {
  /** JSON, as providers do on good days. */
  json(body: unknown, { status = 200, headers = {} }: AnswerOptions = {}): SimulatedAnswer {
    return {
      kind: "response",
      status,
      headers: { "content-type": "application/json", ...headers },
      body: JSON.stringify(body),
    };
  },

  /** A status without a body: `answer.status(204)`, `answer.status(503)`. */
  status(status: number, headers: Readonly<Record<string, string>> = {}): SimulatedAnswer {
    return { kind: "response", status, headers, body: "" };
  },

  /** Any body. */
  text(body: string | Uint8Array, { status = 200, headers = {} }: AnswerOptions = {}): SimulatedAnswer {
    return { kind: "response", status, headers: { "content-type": "text/plain; charset=utf-8", ...headers }, body };
  },

  /** A page where JSON was promised, as a proxy in trouble sends it. */
  garbage(): SimulatedAnswer {
    return answer.text("<html><body>Bad gateway</body></html>", { headers: { "content-type": "application/json" } });
  },

  /** 429, with `Retry-After` in seconds or as a date where one is given. */
  limited(retryAfter?: number | Date, { headers = {} }: Pick<AnswerOptions, "headers"> = {}): SimulatedAnswer {
    const wait = retryAfter instanceof Date ? retryAfter.toUTCString() : retryAfter;
    return answer.status(429, { ...(wait === undefined ? {} : { "retry-after": String(wait) }), ...headers });
  },

  /** Sends the caller elsewhere; an `HttpClient` hands that on and does not follow. */
  redirect(location: string, status = 302): SimulatedAnswer {
    return answer.status(status, { location });
  },

  /** No answer ever: the request ends when its caller gives up, or when its time is over by the simulator's clock. */
  hang(): SimulatedAnswer {
    return { kind: "hang" };
  },

  /**
   * No answer could be had. Returned by a handler that has done its work before, it is an answer that was lost on its
   * way: what the caller cannot tell from a request that never arrived.
   */
  unreachable(reason = "the connection was cut off"): SimulatedAnswer {
    return { kind: "unreachable", reason };
  },
} as const;
