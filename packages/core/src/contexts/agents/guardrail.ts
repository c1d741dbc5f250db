import type { AssistantPart, ModelMessage } from "../../kernel/model-messages.ts";
import type { Tool } from "./tool.ts";

/** What stands between an agent and its model. It decides by what it is given alone: each step asks it anew. */
export interface Guardrail {
  readonly name: string;
  /** What the model reads in place of the conversation. One that throws ends the run. */
  readonly before?: (messages: readonly ModelMessage[]) => readonly ModelMessage[];
  /** Which tools the model may call at this point; what it calls beyond them is refused. */
  readonly tools?: (tools: readonly Tool[], messages: readonly ModelMessage[]) => readonly Tool[];
  /**
   * What counts as the model's answer to the conversation, which is given as it was before `before`. With it nobody sees
   * an answer before it is whole.
   */
  readonly after?: (answer: readonly AssistantPart[], messages: readonly ModelMessage[]) => readonly AssistantPart[];
}

/** What guardrails have made of a conversation. */
export interface Guarded {
  readonly messages: readonly ModelMessage[];
  readonly tools: readonly Tool[];
  answer(content: readonly AssistantPart[]): readonly AssistantPart[];
}

/**
 * Applies guardrails in their order, and to the answer in reverse.
 *
 * @param summarised tools whose results stand in the conversation's summary
 */
export function guarded(
  guardrails: readonly Guardrail[],
  conversation: readonly ModelMessage[],
  offered: readonly Tool[],
  summarised: readonly string[] = [],
): Guarded {
  let messages = conversation;
  let tools = offered;
  const seen: (readonly ModelMessage[])[] = [];
  // What strangers have written is in a summary of it too.
  const result = (name: string) => ({ type: "tool-result", callId: "", name, outcome: "ok", value: null }) as const;
  const results: ModelMessage[] = summarised.length === 0 ? [] : [{ role: "tool", content: summarised.map(result) }];
  for (const { before, tools: allowed } of guardrails) {
    seen.push(messages);
    tools = allowed?.(tools, [...results, ...messages]) ?? tools;
    messages = before?.(messages) ?? messages;
  }
  return {
    messages,
    tools,
    answer: (content) =>
      guardrails.reduceRight((answer, { after }, at) => after?.(answer, seen[at]!) ?? answer, content),
  };
}

/** Whether an answer may be seen before it is whole: what a guardrail makes of it is known only then. */
export function isShownAsWritten({ guardrails }: { readonly guardrails: readonly Guardrail[] }): boolean {
  return guardrails.every(({ after }) => after === undefined);
}

/** What `pseudonymized` finds. */
export type Sensitive = "secret" | "email" | "phone" | "card" | "iban";

// Of each kind only what is hardly ever anything else.
const PATTERNS: Readonly<Record<Sensitive, RegExp>> = {
  secret:
    /-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]+?-----END [A-Z ]*PRIVATE KEY-----|\b(?:sk|pk|rk)[-_](?:live|test|proj)?[-_]?[A-Za-z0-9_-]{16,}|\bgh[opsu]_[A-Za-z0-9]{20,}|\bAKIA[0-9A-Z]{16}\b|\bxox[abprs]-[A-Za-z0-9-]{10,}|\barm_[A-Za-z0-9_]{20,}|\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]{8,}/g,
  email: /[\p{L}\p{N}._%+-]+@[\p{L}\p{N}-]+(?:\.[\p{L}\p{N}-]+)+/gu,
  iban: /\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){3,7}(?: ?[A-Z0-9]{1,3})?\b/g,
  card: /\b\d(?:[ -]?\d){12,18}\b/g,
  phone: /\+\d(?:[ ()./-]{0,2}\d){6,14}\b/g,
};
const KINDS = ["secret", "email", "iban", "card", "phone"] as const;

/**
 * Keeps secrets and personal data from the model: it reads `[email-1]` in their place, the same one for the same value,
 * and what it says of it in a tool call or an answer is put back. So tools get what is meant, and the provider never
 * sees it. Secrets are not put back.
 *
 * What it finds is text of a known shape: private keys, tokens of common providers, addresses, account, card and
 * telephone numbers. A name or a street has none.
 *
 * @param kinds all of them when absent
 */
export function pseudonymized(kinds: readonly Sensitive[] = KINDS): Guardrail {
  return {
    name: "pseudonymized",
    before: (messages) => {
      const names = new Names(kinds);
      return messages.map((message) => names.replaced(message));
    },
    after: (answer, messages) => {
      const names = new Names(kinds);
      for (const message of messages) names.replaced(message);
      return answer.map((part) => names.restored(part));
    },
  };
}

/** Names for values, in the order in which they come. */
class Names {
  readonly #kinds: readonly Sensitive[];
  readonly #byValue = new Map<string, string>();
  readonly #byName = new Map<string, string>();
  readonly #counts = new Map<Sensitive, number>();

  constructor(kinds: readonly Sensitive[]) {
    this.#kinds = KINDS.filter((kind) => kinds.includes(kind));
  }

  replaced<T>(value: T): T {
    return mapTexts(value, (text) =>
      this.#kinds.reduce((rest, kind) => rest.replace(PATTERNS[kind], (found) => this.#nameOf(kind, found)), text),
    );
  }

  restored<T>(value: T): T {
    return mapTexts(value, (text) =>
      text.replace(/\[(?:email|iban|card|phone)-\d+\]/g, (name) => this.#byName.get(name) ?? name),
    );
  }

  #nameOf(kind: Sensitive, value: string): string {
    if (kind === "card" && !isCard(value)) return value;
    const known = this.#byValue.get(value);
    if (known !== undefined) return known;
    const count = (this.#counts.get(kind) ?? 0) + 1;
    this.#counts.set(kind, count);
    const name = `[${kind}-${count}]`;
    this.#byValue.set(value, name);
    this.#byName.set(name, value);
    return name;
  }
}

/** Luhn's check, which one in ten numbers passes that are no cards. */
function isCard(text: string): boolean {
  const digits = [...text].filter((each) => each >= "0" && each <= "9").map(Number);
  const sum = digits.reverse().reduce((total, digit, at) => {
    const doubled = at % 2 === 0 ? digit : digit * 2;
    return total + (doubled > 9 ? doubled - 9 : doubled);
  }, 0);
  return sum % 10 === 0;
}

/** What names things rather than telling of them. */
const STRUCTURE: ReadonlySet<string> = new Set([
  "role",
  "type",
  "id",
  "callId",
  "name",
  "outcome",
  "mediaType",
  "source",
  "providerOptions",
]);

function mapTexts<T>(value: T, map: (text: string) => string, inside = true): T {
  if (typeof value === "string") return map(value) as T;
  if (value === null || typeof value !== "object") return value;
  if (Array.isArray(value)) return value.map((each) => mapTexts(each, map, inside)) as T;
  return Object.fromEntries(
    Object.entries(value).map(([key, each]) => [
      key,
      // Names of a message's own fields; what a tool was given or gave has none that are ours.
      inside && STRUCTURE.has(key) ? each : mapTexts(each, map, inside && key !== "arguments" && key !== "value"),
    ]),
  ) as T;
}

/**
 * Once a conversation holds what strangers may have written, only these tools can be called: what a stranger asks for
 * in a message or a record then reaches no other.
 *
 * @param options.untrusted names of tools whose results strangers can write into
 * @param options.allowed names of the tools that can be called from then on
 */
export function onlyAfterUntrusted(options: {
  readonly untrusted: readonly string[];
  readonly allowed: readonly string[];
}): Guardrail {
  return {
    name: "only-after-untrusted",
    tools: (tools, messages) => {
      const tainted = messages.some(
        (message) => message.role === "tool" && message.content.some(({ name }) => options.untrusted.includes(name)),
      );
      return tainted ? tools.filter(({ name }) => options.allowed.includes(name)) : tools;
    },
  };
}
