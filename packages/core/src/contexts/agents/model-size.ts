import type { ModelRequest } from "./model-prompt.ts";

const BYTES_PER_TOKEN = 3;
const TOKENS_PER_MESSAGE = 8;
/** Of an image at the size that providers scale it to. A file of many pages takes more than that. */
const TOKENS_PER_FILE = 2_000;

/**
 * About how many tokens a request takes, rather too many than too few: what to reserve for it before the provider says.
 * A token for every three bytes of text (English has four to a token, other scripts up to three), and 2,000 a file.
 */
export function estimateInputTokens({ messages, tools = [], json }: ModelRequest): number {
  let bytes = sizeOf(tools) + sizeOf(json?.schema ?? "");
  let tokens = messages.length * TOKENS_PER_MESSAGE;
  for (const { role, content } of messages) {
    if (role === "system") bytes += Buffer.byteLength(content);
    else
      for (const part of content) {
        if (part.type === "file") tokens += TOKENS_PER_FILE;
        else bytes += part.type === "text" ? Buffer.byteLength(part.text) : sizeOf(part);
      }
  }
  return tokens + Math.ceil(bytes / BYTES_PER_TOKEN);
}

const sizeOf = (value: unknown): number => Buffer.byteLength(JSON.stringify(value));
