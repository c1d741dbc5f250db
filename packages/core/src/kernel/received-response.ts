import { ProviderAnsweredGarbage } from "./port-errors.ts";
import type { HttpResponse } from "./ports.ts";

/** An answer of which everything is here already. */
export class ReceivedResponse implements HttpResponse {
  readonly status: number;
  readonly headers: Headers;
  readonly url: string;
  readonly #body: Uint8Array;

  constructor(received: {
    readonly status: number;
    readonly headers: Headers;
    readonly url: string;
    readonly body: Uint8Array;
  }) {
    this.status = received.status;
    this.headers = received.headers;
    this.url = received.url;
    this.#body = received.body;
  }

  bytes(): Uint8Array {
    return this.#body;
  }

  text(): string {
    return new TextDecoder().decode(this.#body);
  }

  json(): unknown {
    try {
      return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(this.#body));
    } catch {
      // Without the cause: the parser's message quotes the body.
      throw new ProviderAnsweredGarbage({ host: new URL(this.url).host, reason: "it is not JSON" });
    }
  }
}
