import { randomUUID } from "node:crypto";

/** What callers of a load know to be true, because the server has said so, and how it went. */
export class Ledger {
  /** Service accounts whose creation was answered with success. */
  readonly accounts = new Set<string>();
  /** Requests by status; `gone` when the connection ended before the answer. */
  readonly outcomes = new Map<string, number>();
  /** How long each request took, in milliseconds. */
  readonly durations: number[] = [];
  /** Answers that nobody should get. */
  readonly wrong: string[] = [];

  get requests(): number {
    return [...this.outcomes.values()].reduce((sum, each) => sum + each, 0);
  }

  /** The duration that this share of the requests did not exceed. */
  percentile(share: number): number {
    const sorted = this.durations.toSorted((a, b) => a - b);
    return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
  }
}

interface Answer {
  readonly status: number;
  // biome-ignore lint/suspicious/noExplicitAny: a test looks into it
  readonly json: any;
}

/** One client of a busy tenant: it does everything in turn, one request at a time. */
export class Caller {
  readonly #origin: string;
  readonly #key: string;
  readonly #ledger: Ledger;

  constructor(origin: string, key: string, ledger: Ledger) {
    this.#origin = origin;
    this.#key = key;
    this.#ledger = ledger;
  }

  /** Goes on until it is told to stop, or nobody answers any more. */
  async run(stop: AbortSignal): Promise<void> {
    try {
      while (!stop.aborted) await this.#round();
    } catch (error) {
      if (!(error instanceof Gone)) throw error;
    }
  }

  async #round(): Promise<void> {
    const serviceAccountId = `svc-${randomUUID()}`;
    const account = { type: "service", id: serviceAccountId };
    const made = await this.#send("POST", "/service-accounts", { serviceAccountId, name: "Importer" });
    if (made.status === 200) this.#ledger.accounts.add(serviceAccountId);
    await this.#send("GET", `/service-accounts/${serviceAccountId}`);
    await this.#send("GET", "/service-accounts?limit=50");
    const { json: key } = await this.#send("POST", "/api-keys", { name: "key", account });
    await this.#send("POST", `/api-keys/${key.keyId}/revoke`, {});
    await this.#send("POST", `/service-accounts/${serviceAccountId}/disable`, {});

    const { json: connector } = await this.#send("POST", "/connectors/api-key", { provider: "crm", apiKey: "secret" });
    const path = `/connectors/${connector.id}`;
    await this.#send("GET", path);
    await this.#send("POST", `${path}/actions/listContacts`, { input: { limit: 3 } });
    await this.#send("POST", `${path}/actions/createContact`, { input: { name: "Ann" } });
    await this.#send("POST", `${path}/check`, {});
    await this.#send("POST", `${path}/disconnect`, {});

    const secret = `/secrets/${randomUUID()}`;
    await this.#send("PUT", secret, { value: "hunter2" });
    await this.#send("DELETE", secret);
    await this.#send("GET", "/audit?limit=20");
    await this.#send("GET", "/audit/events?limit=20");
    await this.#send("GET", "/service-accounts/nobody", undefined, 404);
    await this.#send("POST", "/service-accounts", { name: "" }, 400);
    await this.#send("GET", "/health");
    await this.#send("GET", "/openapi.json");
  }

  async #send(method: string, path: string, body?: unknown, expected?: number): Promise<Answer> {
    const begun = performance.now();
    const { outcomes, durations, wrong } = this.#ledger;
    const count = (outcome: string) => outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
    let response: Response;
    let text: string;
    try {
      response = await fetch(this.#origin + path, {
        method,
        headers: {
          "x-api-key": this.#key,
          ...(body === undefined ? {} : { "content-type": "application/json" }),
          ...(method === "GET" ? {} : { "idempotency-key": randomUUID() }),
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
      text = await response.text();
    } catch (error) {
      count("gone");
      throw new Gone("", { cause: error });
    }
    durations.push(performance.now() - begun);
    count(String(response.status));
    if (response.status === 503) throw new Gone();
    if (expected === undefined ? !response.ok : response.status !== expected)
      wrong.push(`${method} ${path}: ${response.status} ${text.slice(0, 300)}`);
    return { status: response.status, json: text === "" ? {} : JSON.parse(text) };
  }
}

class Gone extends Error {}
