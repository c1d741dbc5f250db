import { parse } from "@armature/core";
import { z } from "zod";

const secretName = z
  .string()
  .min(1)
  .max(500)
  .refine((name) => name.isWellFormed() && !name.includes("\0"), "must be text without NUL");

// Vault refuses "..", its server cleans "." and "//" out of paths, and old versions refuse what cannot be printed.
const ESCAPED = /[^A-Za-z0-9._-]|^\.|(?<=\.)\./gu;
const EMPTY = "=";

/**
 * Text as one segment of a path in Vault: letters, digits, `.`, `_` and `-` as they are, every other byte of its UTF-8
 * as `=2F`; so is a dot at the beginning or after another dot. The empty text is `=`. Different texts give different
 * segments, and none of them leads anywhere else.
 */
export function toSegment(text: string): string {
  if (text === "") return EMPTY;
  return text.replace(ESCAPED, (sign) =>
    [...Buffer.from(sign)].map((byte) => `=${byte.toString(16).toUpperCase().padStart(2, "0")}`).join(""),
  );
}

/** The text of a segment; undefined when `toSegment` did not make it, so that it is none of ours. */
export function fromSegment(segment: string): string | undefined {
  if (segment === EMPTY) return "";
  const bytes = segment.replace(/=([0-9A-F]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
  const text = Buffer.from(bytes, "latin1").toString("utf8");
  return text !== "" && toSegment(text) === segment ? text : undefined;
}

/**
 * Where a tenant's secret is kept below the mount: the parts of its name are folders.
 *
 * @throws {InvalidInput} the name cannot be kept
 */
export function pathOf(tenant: string, name: string): string {
  return `${toSegment(tenant)}/${parse(secretName, name, "The name of a secret").split("/").map(toSegment).join("/")}`;
}

/** The folder of a tenant, or one below it whose name ends with a slash. */
export function folderOf(tenant: string, folder: string): string {
  return [tenant, ...folder.split("/").slice(0, -1)].map(toSegment).join("/");
}
