import { randomUUID } from "node:crypto";
import {
  compareText,
  parse,
  Secret,
  type SecretStore,
  SecretUnreadable,
  SecretVersionConflict,
  type StoredSecret,
  tryParse,
} from "@armature/core";
import { z } from "zod";
import { healthAnswer, storedSecret } from "./answers.ts";
import { VaultAnsweredGarbage, VaultNotInitialized, VaultSealed, VaultTimedOut, VaultUnavailable } from "./errors.ts";
import type { KvEngine, KvWritten } from "./kv-engine.ts";
import { folderOf, fromSegment, pathOf } from "./secret-path.ts";
import { understood, type VaultApi } from "./vault-api.ts";

const FOLDERS_AT_ONCE = 8;

const plaintext = z.string().refine((text) => text.isWellFormed(), "must be well-formed text");

/** What a version holds: the value, and the id of the write that made it. */
interface Content extends Readonly<Record<string, unknown>> {
  readonly value: string;
  readonly write: string;
}

/**
 * Secrets in Vault's KV version 2 engine, each under `<prefix>/<tenant>/<name>`, its versions Vault's own. `delete`
 * deletes the metadata and with it every version; Vault then counts from 1 again.
 *
 * Reads, lists and deletions are repeated when Vault stumbles. A write carries an id of its own, and when its answer is
 * lost, the version that it should have made is read. If it has that id, the write has happened. If there is no such
 * version, a write that expects a version is sent again, which check-and-set makes safe; one that expects none is not.
 */
export class VaultSecretStore implements SecretStore {
  readonly #api: VaultApi;
  readonly #engine: KvEngine;
  readonly #prefix: string;

  /** @param prefix the folder of this deployment, below the mount */
  constructor(api: VaultApi, engine: KvEngine, prefix: string) {
    this.#api = api;
    this.#engine = engine;
    this.#prefix = prefix;
  }

  async get(tenant: string, name: string, version?: number): Promise<StoredSecret | undefined> {
    const path = this.#path(tenant, name);
    // For Vault version 0 is the newest, and for us it is none.
    if (version !== undefined && !(Number.isSafeInteger(version) && version > 0)) return undefined;
    const held = await this.#engine.read(path, version);
    if (held?.data === undefined) return undefined;
    const stored = tryParse(storedSecret, held.data);
    if (!stored.ok) throw new SecretUnreadable({ name });
    return { version: held.version, value: new Secret(stored.value.value) };
  }

  async put(tenant: string, name: string, value: Secret<string>, expectedVersion?: number): Promise<number> {
    const path = this.#path(tenant, name);
    if (expectedVersion !== undefined && !(Number.isSafeInteger(expectedVersion) && expectedVersion >= 0))
      throw new SecretVersionConflict({ name, expected: expectedVersion });
    const content = { value: parse(plaintext, value.reveal(), "The value of a secret"), write: randomUUID() };
    let written = await this.#write(path, content, expectedVersion);
    if (expectedVersion === undefined) {
      // The mount insists on check-and-set: whoever comes first wins the number, and the others read again.
      while (typeof written === "string")
        written = await this.#write(path, content, (await this.#engine.read(path))?.version ?? 0);
      return written;
    }
    if (written === "mismatch" && expectedVersion === 0) {
      // What somebody deleted in Vault itself does not exist any more, but its number still counts there.
      const held = await this.#engine.read(path);
      if (held !== undefined && held.data === undefined) written = await this.#write(path, content, held.version);
    }
    if (typeof written === "number") return written;
    throw new SecretVersionConflict({ name, expected: expectedVersion });
  }

  async delete(tenant: string, name: string): Promise<void> {
    await this.#engine.delete(this.#path(tenant, name));
  }

  async list(tenant: string, prefix: string): Promise<readonly string[]> {
    if (!prefix.isWellFormed()) return [];
    const names: string[] = [];
    const folders = [prefix.slice(0, prefix.lastIndexOf("/") + 1)];
    while (folders.length > 0) {
      const some = folders.splice(0, FOLDERS_AT_ONCE);
      const inside = (await Promise.all(some.map((folder) => this.#inside(tenant, folder)))).flat();
      for (const { text, isFolder } of inside) if (text.startsWith(prefix)) (isFolder ? folders : names).push(text);
    }
    return names.sort(compareText);
  }

  async ping(): Promise<void> {
    const answer = await this.#api.repeat({ method: "GET", path: "sys/health", ofServer: true });
    const { initialized, sealed } = understood(healthAnswer, answer, "a question about its health");
    if (!initialized) throw new VaultNotInitialized({});
    if (sealed) throw new VaultSealed({});
    // Other standbys hand requests on to the active node.
    if (answer.status === 472) throw new VaultUnavailable({ reason: "the node is a disaster recovery secondary" });
    await this.#engine.check();
  }

  #path(tenant: string, name: string): string {
    return `${this.#prefix}/${pathOf(tenant, name)}`;
  }

  /** Names and folders in a folder, with the folder before them. What is not named as we name things is left out. */
  async #inside(tenant: string, folder: string) {
    const keys = await this.#engine.list(`${this.#prefix}/${folderOf(tenant, folder)}`);
    return keys.flatMap((key) => {
      const isFolder = key.endsWith("/");
      const part = fromSegment(isFolder ? key.slice(0, -1) : key);
      return part === undefined ? [] : [{ text: `${folder}${part}${isFolder ? "/" : ""}`, isFolder }];
    });
  }

  async #write(path: string, content: Content, cas: number | undefined): Promise<KvWritten> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        const written = await this.#engine.write(path, content, cas);
        // An attempt before this one may have arrived after all, late.
        const ours = attempt > 1 && written === "mismatch" ? await this.#fate(path, content, cas) : undefined;
        return typeof ours === "number" ? ours : written;
      } catch (error) {
        if (!isUncertain(error)) throw error;
        const fate = await this.#fate(path, content, cas).catch(() => "unknown" as const);
        if (typeof fate === "number" || fate === "mismatch") return fate;
        if (fate === "unknown" || !(error instanceof VaultUnavailable) || !(await this.#api.pause(attempt)))
          throw error;
      }
    }
  }

  /** What became of a write whose answer was lost. */
  async #fate(path: string, { write }: Content, cas: number | undefined) {
    const held = await this.#engine.read(path, cas === undefined ? undefined : cas + 1);
    if (held?.data?.["write"] === write) return held.version;
    if (cas === undefined) return "unknown";
    if (held === undefined) return "absent";
    // Somebody else has the number. When it is deleted already, nobody can tell whose it was.
    return held.data === undefined ? "unknown" : "mismatch";
  }
}

// A timeout, a connection that was cut off, an answer that got lost in between: the write may have happened.
function isUncertain(error: unknown): boolean {
  return error instanceof VaultUnavailable || error instanceof VaultTimedOut || error instanceof VaultAnsweredGarbage;
}
