import { tryParse } from "@armature/core";
import { goneAnswer, listAnswer, mountAnswer, readAnswer, writeAnswer } from "./answers.ts";
import { VaultAnsweredGarbage, VaultMountUnusable, VaultRefused } from "./errors.ts";
import { understood, type VaultAnswer } from "./vault-api.ts";
import type { VaultSessions } from "./vault-sessions.ts";

type Data = Readonly<Record<string, unknown>>;

/** What a path holds in one version. `data` is undefined when that version was deleted or destroyed. */
export interface KvVersion {
  readonly version: number;
  readonly data: Data | undefined;
}

/** The number of the new version, or why there is none: another number is the newest, or one had to be given. */
export type KvWritten = number | "mismatch" | "number needed";

/** Vault's KV engine, version 2, at one mount. Paths are made of segments that need no escaping. */
export class KvEngine {
  readonly #sessions: VaultSessions;
  readonly #mount: string;

  constructor(sessions: VaultSessions, mount: string) {
    this.#sessions = sessions;
    this.#mount = mount;
  }

  /** The newest version, or the given one; undefined when there is none, also when it is no longer kept. */
  async read(path: string, version?: number): Promise<KvVersion | undefined> {
    const query = version === undefined ? {} : { query: { version: String(version) } };
    const answer = await this.#call(READ, { method: "GET", path: `data/${path}`, ...query });
    if (answer.status === 200) {
      const { data, metadata } = understood(readAnswer, answer, READ).data;
      return { version: metadata.version, data };
    }
    const gone = tryParse(goneAnswer, answer.status === 404 ? answer.body : undefined);
    return gone.ok ? { version: gone.value.data.metadata.version, data: undefined } : nothingAt(answer, READ);
  }

  /** Sent once. With `cas`, only when that is the newest version; 0 when there must be none. */
  async write(path: string, data: Data, cas?: number): Promise<KvWritten> {
    const body = { data, options: cas === undefined ? {} : { cas } };
    const answer = await this.#call(WRITE, { method: "POST", path: `data/${path}`, body }, false);
    if (answer.status === 200) return understood(writeAnswer, answer, WRITE).data.version;
    // Version 1 of the engine takes the path for a name and keeps what it is given.
    if (answer.status === 204) throw new VaultMountUnusable({ reason: "the engine there keeps no versions" });
    if (answer.status === 400 && says(answer, "check-and-set parameter did not match")) return "mismatch";
    if (answer.status === 400 && says(answer, "check-and-set parameter required")) return "number needed";
    nothingAt(answer, WRITE);
    throw new VaultMountUnusable({ reason: "it takes no secrets" });
  }

  /** Deletes every version and that there ever was one. */
  async delete(path: string): Promise<void> {
    const answer = await this.#call(DELETE, { method: "DELETE", path: `metadata/${path}` });
    if (answer.status !== 204) nothingAt(answer, DELETE);
  }

  /** What a folder holds; names of folders end with a slash. */
  async list(folder: string): Promise<readonly string[]> {
    const query = { list: "true" };
    const answer = await this.#call(LIST, { method: "GET", path: `metadata/${folder}`, query });
    return answer.status === 200 ? understood(listAnswer, answer, LIST).data.keys : (nothingAt(answer, LIST) ?? []);
  }

  /** @throws {VaultMountUnusable} something else is mounted there, or nothing */
  async check(): Promise<void> {
    const path = `sys/internal/ui/mounts/${this.#mount}`;
    const answer = await this.#sessions.call(CHECK, { method: "GET", path });
    if (answer.status !== 200) nothingAt(answer, CHECK);
    const { type, options } = understood(mountAnswer, answer, CHECK).data;
    if (type !== "kv") throw new VaultMountUnusable({ reason: "another kind of engine is mounted there" });
    if (options?.["version"] !== "2") throw new VaultMountUnusable({ reason: "the engine there keeps no versions" });
  }

  #call(operation: string, request: Parameters<VaultSessions["call"]>[1], repeatable = true): Promise<VaultAnswer> {
    return this.#sessions.call(operation, { ...request, path: `${this.#mount}/${request.path}` }, repeatable);
  }
}

const READ = "read a secret";
const WRITE = "write a secret";
const DELETE = "delete a secret";
const LIST = "list secrets";
const CHECK = "look at the mount";

const says = ({ errors }: VaultAnswer, text: string): boolean => errors?.some((each) => each.includes(text)) === true;

/** Undefined when Vault says that there is nothing; throws when it says something else. */
function nothingAt({ status, errors }: VaultAnswer, operation: string): undefined {
  if (errors === undefined)
    throw new VaultAnsweredGarbage({ reason: `status ${status} in a shape that is not Vault's` });
  if (status === 404 && errors.length === 0) return undefined;
  if (status === 404) throw new VaultMountUnusable({ reason: "nothing is there, or the namespace does not exist" });
  throw new VaultRefused({ operation, reason: status === 413 ? "it is too large" : `status ${status}` });
}
