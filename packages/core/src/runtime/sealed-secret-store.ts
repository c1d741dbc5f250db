import { z } from "zod";
import type { Ids } from "../kernel/ids.ts";
import { parse } from "../kernel/parse.ts";
import { SecretUnreadable, SecretVersionConflict } from "../kernel/port-errors.ts";
import type { SecretStore, StoredSecret } from "../kernel/ports.ts";
import { tryParse } from "../kernel/schema.ts";
import { Secret } from "../kernel/secret.ts";
import type { Store } from "../kernel/store.ts";
import { open, seal, sealedText } from "./sealing.ts";
import { scopeOf, TenantDataKeys } from "./tenant-data-keys.ts";

const PREFIX = "secret/";
const KEPT_VERSIONS = 10;
const READ_AT_ONCE = 50;

const secretName = z
  .string()
  .min(1)
  .max(500)
  .refine((name) => name.isWellFormed() && !name.includes("\0"), "must be text without NUL");

const plaintext = z.string().refine((text) => text.isWellFormed(), "must be well-formed text");

const version = z.int().min(1);

const secretRecord = z.strictObject({
  format: z.literal(1),
  /** Number of the newest version that there ever was. */
  latest: version,
  /** Oldest first; empty once deleted. */
  versions: z.array(z.strictObject({ version, dataKey: z.string(), sealed: sealedText })),
});
type SecretRecord = z.infer<typeof secretRecord>;

interface Held extends SecretRecord {
  readonly recordVersion: number;
}

export interface SealedSecretStoreOptions {
  readonly store: Pick<Store, "records" | "ping">;
  /** 32 bytes in base64: `openssl rand -base64 32`. Without it nothing that was sealed can be opened again. */
  readonly keyEncryptionKey: Secret<string>;
  readonly ids: Ids;
  /** How many versions of a secret are kept. 10 when absent. */
  readonly keepVersions?: number;
}

/**
 * Secrets sealed in the store. Each value is sealed with AES-256-GCM under its tenant's data key, bound to tenant, name
 * and version: moved anywhere else it does not open. The data key is sealed under the key-encryption key.
 *
 * The newest ten versions of a secret are kept. Numbers are never used twice: what is written after a `delete` counts
 * on from the deleted number, so a reference to a destroyed version cannot come to mean another value. Names are stored
 * in the clear; numbers of deleted ones remain.
 */
export class SealedSecretStore implements SecretStore {
  readonly #store: Pick<Store, "records" | "ping">;
  readonly #ids: Ids;
  readonly #dataKeys: TenantDataKeys;
  readonly #keepVersions: number;

  /** @throws {InvalidInput} when the key-encryption key is not 32 bytes in base64 */
  constructor(options: SealedSecretStoreOptions) {
    const { store, ids, keyEncryptionKey, keepVersions = KEPT_VERSIONS } = options;
    this.#store = store;
    this.#ids = ids;
    this.#dataKeys = new TenantDataKeys({ records: store.records, ids, keyEncryptionKey });
    this.#keepVersions = parse(version, keepVersions, "The number of versions to keep");
  }

  async get(tenant: string, name: string, version?: number): Promise<StoredSecret | undefined> {
    const { versions } = await this.#held(tenant, name);
    const found = version === undefined ? versions.at(-1) : versions.find((each) => each.version === version);
    if (found === undefined) return undefined;
    const dataKey = await this.#dataKeys.forOpening(tenant, found.dataKey);
    const bytes = dataKey && open(dataKey.key, found.sealed, bound(tenant, name, found.version, dataKey.id));
    if (bytes === undefined) throw new SecretUnreadable({ name });
    return { version: found.version, value: new Secret(bytes.toString("utf8")) };
  }

  async put(tenant: string, name: string, value: Secret<string>, expectedVersion?: number): Promise<number> {
    parse(secretName, name, "The name of a secret");
    const text = parse(plaintext, value.reveal(), "The value of a secret");
    for (;;) {
      const { recordVersion, latest, versions } = await this.#held(tenant, name);
      if (expectedVersion !== undefined && expectedVersion !== (versions.at(-1)?.version ?? 0))
        throw new SecretVersionConflict({ name, expected: expectedVersion });
      const dataKey = await this.#dataKeys.forSealing(tenant);
      if (dataKey === undefined) throw new SecretUnreadable({ name });
      const version = latest + 1;
      const sealed = seal(dataKey.key, Buffer.from(text), bound(tenant, name, version, dataKey.id), this.#ids);
      const kept = [...versions, { version, dataKey: dataKey.id, sealed }].slice(-this.#keepVersions);
      if (await this.#write(tenant, name, { format: 1, latest: version, versions: kept }, recordVersion))
        return version;
    }
  }

  async delete(tenant: string, name: string): Promise<void> {
    for (;;) {
      const held = await this.#read(tenant, name);
      // Also what cannot be read can be destroyed; only its number is lost with it.
      if (held === undefined) return this.#store.records.delete(scopeOf(tenant), `${PREFIX}${name}`);
      const { recordVersion, latest, versions } = held;
      if (versions.length === 0) return;
      if (await this.#write(tenant, name, { format: 1, latest, versions: [] }, recordVersion)) return;
    }
  }

  async list(tenant: string, prefix: string): Promise<readonly string[]> {
    const names: string[] = [];
    let after: string | undefined;
    for (;;) {
      const query = { prefix: `${PREFIX}${prefix}`, limit: READ_AT_ONCE, after };
      const keys = await this.#store.records.list(scopeOf(tenant), query);
      const found = keys.map((key) => key.slice(PREFIX.length));
      const held = await Promise.all(found.map((name) => this.#read(tenant, name)));
      names.push(...found.filter((_, at) => held[at]?.versions.length !== 0));
      if (keys.length < READ_AT_ONCE) return names;
      after = keys.at(-1);
    }
  }

  /** @throws {KeyEncryptionKeyWrong} when this store's secrets were sealed with another key */
  async ping(): Promise<void> {
    await this.#store.ping();
    await this.#dataKeys.check();
  }

  async #held(tenant: string, name: string): Promise<Held> {
    const held = await this.#read(tenant, name);
    if (held === undefined) throw new SecretUnreadable({ name });
    return held;
  }

  /** Undefined when the record is not one of ours. */
  async #read(tenant: string, name: string): Promise<Held | undefined> {
    const stored = await this.#store.records.get(scopeOf(tenant), `${PREFIX}${name}`);
    if (stored === undefined) return { recordVersion: 0, format: 1, latest: 0, versions: [] };
    const record = tryParse(secretRecord, stored.value);
    return record.ok ? { ...record.value, recordVersion: stored.version } : undefined;
  }

  #write(tenant: string, name: string, record: SecretRecord, expectedVersion: number): Promise<boolean> {
    return this.#store.records.put(scopeOf(tenant), `${PREFIX}${name}`, record, expectedVersion);
  }
}

function bound(tenant: string, name: string, version: number, dataKey: string): readonly (string | number)[] {
  return ["secret", tenant, name, version, dataKey];
}
