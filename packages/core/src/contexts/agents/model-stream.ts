import type { PartialTurn } from "../../kernel/model-errors.ts";
import { untilAborted } from "../../kernel/until-aborted.ts";

/**
 * A piece of an answer that is under way, for who wants to show it. Pieces are best effort: they are not checked, may
 * be cut within a character, and a call that is tried again begins anew, which `restarted` says. What counts is the turn.
 */
export type ModelDelta =
  | { readonly type: "text" | "reasoning"; readonly text: string }
  /** A piece of the JSON text of a tool call's arguments. The turn may give the call another id. */
  | { readonly type: "tool-input"; readonly id: string; readonly name: string; readonly text: string }
  /** What came so far is void: the model, or the next one, is asked again. */
  | { readonly type: "restarted" };

interface Piece {
  readonly type: "text" | "reasoning" | "tool-call";
  text: string;
  metadata: Fields | undefined;
  /** Fields of a tool call. */
  call: Fields;
}

type Fields = Readonly<Record<string, unknown>>;

/**
 * Puts the parts of a stream together to what `doGenerate` would have given. Parts that are not known are left out, and
 * each may come when it likes: usage before the text, a delta without a start, nothing after the last delta.
 */
export class StreamedAnswer {
  readonly #pieces: Piece[] = [];
  /** Pieces that deltas may still be added to, by type and the provider's id. */
  readonly #open = new Map<string, Piece>();
  #finish: Fields | undefined;
  #usage: unknown;
  #response: Fields = {};
  #warnings: unknown;

  /** Whether the model has said that it is done. */
  get finished(): boolean {
    return this.#finish !== undefined;
  }

  /** What has come so far. Tool calls are not told: nobody may run one that the model was not done with. */
  get partial(): PartialTurn {
    return { text: this.#textOf("text", ""), reasoning: this.#textOf("reasoning", "\n\n") };
  }

  /** The answer, in the form of `doGenerate`. */
  get raw(): unknown {
    return {
      content: this.#pieces.map(({ type, text, metadata, call }) =>
        type === "tool-call"
          ? { input: text, ...call, type, providerMetadata: metadata }
          : { type, text, providerMetadata: metadata },
      ),
      finishReason: this.#finish?.["finishReason"],
      usage: this.#usage,
      response: this.#response,
      warnings: this.#warnings,
    };
  }

  /** Takes the next part, and gives what there is to show of it. */
  add(raw: unknown): ModelDelta | undefined {
    const part = fieldsOf(raw);
    switch (part["type"]) {
      case "text-start":
      case "text-delta":
      case "text-end":
        return this.#written("text", part);
      case "reasoning-start":
      case "reasoning-delta":
      case "reasoning-end":
        return this.#written("reasoning", part);
      case "tool-input-start":
        this.#start("tool-call", part, { toolCallId: part["id"], toolName: part["toolName"] }, part);
        return undefined;
      case "tool-input-delta":
        return this.#toolInput(part);
      case "tool-call":
        this.#toolCall(part);
        return undefined;
      case "stream-start":
        this.#warnings = part["warnings"];
        return undefined;
      case "response-metadata":
        this.#response = { ...this.#response, ...defined(part) };
        return undefined;
      case "finish":
        this.#finish = part;
        this.#usage = part["usage"] ?? this.#usage;
        return undefined;
      default:
        return undefined;
    }
  }

  #written(type: "text" | "reasoning", part: Fields): ModelDelta | undefined {
    const end = String(part["type"]).slice(type.length + 1);
    if (end === "start") {
      this.#start(type, part, {}, {});
      return undefined;
    }
    const key = keyOf(type, part["id"]);
    const piece = this.#open.get(key) ?? (end === "delta" ? this.#start(type, part, {}, {}) : undefined);
    if (piece !== undefined) piece.metadata = merged(piece.metadata, part["providerMetadata"]);
    if (end === "end") this.#open.delete(key);
    const { delta } = part;
    if (piece === undefined || end !== "delta" || typeof delta !== "string" || delta === "") return undefined;
    piece.text += delta;
    return { type, text: delta };
  }

  #toolInput(part: Fields): ModelDelta | undefined {
    const piece = this.#open.get(keyOf("tool-call", part["id"]));
    const { delta, id } = part;
    if (piece === undefined || typeof delta !== "string") return undefined;
    piece.text += delta;
    const name = piece.call["toolName"];
    return { type: "tool-input", id: String(id), name: typeof name === "string" ? name : "", text: delta };
  }

  // The whole call, after its pieces or without any.
  #toolCall(part: Fields): void {
    const key = keyOf("tool-call", part["toolCallId"]);
    const piece = this.#open.get(key) ?? this.#start("tool-call", part, {}, {});
    this.#open.delete(key);
    piece.call = defined(part);
    piece.metadata = merged(piece.metadata, part["providerMetadata"]);
  }

  #start(type: Piece["type"], part: Fields, call: Fields, { providerExecuted }: Fields): Piece {
    const piece: Piece = {
      type,
      text: "",
      metadata: merged(undefined, part["providerMetadata"]),
      call: { ...call, ...(providerExecuted === true ? { providerExecuted } : {}) },
    };
    this.#pieces.push(piece);
    this.#open.set(keyOf(type, part["id"]), piece);
    return piece;
  }

  #textOf(type: Piece["type"], between: string): string {
    const texts = this.#pieces.filter((piece) => piece.type === type && piece.text !== "").map(({ text }) => text);
    return texts.join(between).replaceAll("\u0000", "").toWellFormed();
  }
}

/** A stream said that something went wrong; what is the `cause`. */
export class StreamFailed extends Error {}

/** What `doStream` gave is no stream. */
export class NoStream extends Error {}

/**
 * Reads a stream to its end. However it ends, the stream is let go: a reader that stops without that keeps the
 * connection to the provider, and the provider writing.
 *
 * @throws {StreamFailed} a part said so; also the signal's reason, and what the stream itself failed with
 */
export async function drain(
  opened: unknown,
  answer: StreamedAnswer,
  signal: AbortSignal,
  onDelta: (delta: ModelDelta) => void,
): Promise<void> {
  const stream = streamOf(opened);
  if (stream === undefined) throw new NoStream();
  const reader = stream.getReader();
  try {
    for (;;) {
      const { done, value } = await untilAborted(signal, reader.read());
      if (done) return;
      if (fieldsOf(value)["type"] === "error") throw new StreamFailed("", { cause: fieldsOf(value)["error"] });
      const delta = answer.add(value);
      if (delta !== undefined) onDelta(delta);
    }
  } finally {
    // Not waited for: what hangs while it is read may hang while it is let go.
    reader.cancel().catch(() => {});
  }
}

/** Lets go of a stream that came too late for anybody to read. */
export function letGo(opened: unknown): void {
  streamOf(opened)
    ?.cancel()
    .catch(() => {});
}

function streamOf(opened: unknown): ReadableStream<unknown> | undefined {
  const { stream } = fieldsOf(opened);
  return typeof fieldsOf(stream)["getReader"] === "function" ? (stream as ReadableStream<unknown>) : undefined;
}

const keyOf = (type: string, id: unknown): string => `${type} ${String(id)}`;

// A provider may give a part's metadata in pieces too: an id with the start, a signature with the end.
function merged(known: Fields | undefined, given: unknown): Fields | undefined {
  if (typeof given !== "object" || given === null) return known;
  const all: Record<string, unknown> = { ...known };
  for (const [provider, fields] of Object.entries(given)) all[provider] = { ...fieldsOf(all[provider]), ...fields };
  return all;
}

function defined(fields: Fields): Fields {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}

function fieldsOf(value: unknown): Fields {
  return typeof value === "object" && value !== null ? (value as Fields) : {};
}
