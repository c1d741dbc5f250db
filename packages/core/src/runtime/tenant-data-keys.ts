import { createSecretKey, type KeyObject } from "node:crypto";
import { z } from "zod";
import type { Ids } from "../kernel/ids.ts";
import { KeyEncryptionKeyWrong } from "../kernel/port-errors.ts";
import { tryParse } from "../kernel/schema.ts";
import type { Secret } from "../kernel/secret.ts";
import type { Records } from "../kernel/store.ts";
import { deriveKey, keyId } from "./key-derivation.ts";
import { open, seal, sealedText } from "./sealing.ts";

const RECORD = "data-key";
/** No tenant has this id. Its data key seals nothing: it opens under the right key-encryption key, and under no other. */
const NO_TENANT = "_";
const CACHED_TENANTS = 1000;

const dataKeyRecord = z.strictObject({
  format: z.literal(1),
  /** Stands in each value that is sealed with it, so that a later key can be told from it. */
  id: z.string(),
  /** Names the key-encryption key that sealed it. */
  sealedBy: z.string(),
  sealed: sealedText,
});

/** The key that a tenant's secrets are sealed with. */
export interface DataKey {
  readonly id: string;
  readonly key: KeyObject;
}

/**
 * One random data key per tenant, itself sealed in the store. What seals it is derived from the key-encryption key for
 * this purpose alone. Opened keys stay in memory for the tenants used last.
 */
export class TenantDataKeys {
  readonly #records: Records;
  readonly #ids: Ids;
  readonly #sealingKey: KeyObject;
  readonly #sealedBy: string;
  readonly #opened = new Map<string, DataKey>();

  constructor(options: { readonly records: Records; readonly ids: Ids; readonly keyEncryptionKey: Secret<string> }) {
    this.#records = options.records;
    this.#ids = options.ids;
    this.#sealingKey = createSecretKey(deriveKey(options.keyEncryptionKey, "data-keys").reveal());
    this.#sealedBy = keyId(options.keyEncryptionKey);
  }

  /** @throws {KeyEncryptionKeyWrong} when this store's data keys were sealed with another key */
  async check(): Promise<void> {
    if ((await this.forSealing(NO_TENANT)) === undefined) throw new KeyEncryptionKeyWrong({});
  }

  /**
   * The tenant's key, made at the first use: of several that make one at once, one becomes the tenant's. Undefined when
   * the stored one cannot be opened.
   *
   * @throws {KeyEncryptionKeyWrong} instead of making one that no process with the right key could open
   */
  async forSealing(tenant: string): Promise<DataKey | undefined> {
    const opened = this.#opened.get(tenant);
    if (opened !== undefined) return this.#keep(tenant, opened);
    for (;;) {
      const stored = await this.#records.get(scopeOf(tenant), RECORD);
      if (stored !== undefined) return this.#openRecord(tenant, stored.value);
      if (tenant !== NO_TENANT) await this.check();
      const made = { id: this.#ids.next("dk"), key: createSecretKey(this.#ids.random(32)) };
      const sealed = seal(this.#sealingKey, made.key.export(), this.#bound(tenant, made.id), this.#ids);
      const record = { format: 1, id: made.id, sealedBy: this.#sealedBy, sealed };
      if (await this.#records.put(scopeOf(tenant), RECORD, record, 0)) return this.#keep(tenant, made);
    }
  }

  /** The key with this id. Undefined when it is not the tenant's, or cannot be opened. */
  async forOpening(tenant: string, id: string): Promise<DataKey | undefined> {
    const opened = this.#opened.get(tenant);
    if (opened?.id === id) return this.#keep(tenant, opened);
    // Not in memory, or replaced since by another process.
    const stored = await this.#records.get(scopeOf(tenant), RECORD);
    const found = stored === undefined ? undefined : this.#openRecord(tenant, stored.value);
    return found?.id === id ? found : undefined;
  }

  #openRecord(tenant: string, value: unknown): DataKey | undefined {
    const record = tryParse(dataKeyRecord, value);
    if (!record.ok || record.value.sealedBy !== this.#sealedBy) return undefined;
    const { id, sealed } = record.value;
    const bytes = open(this.#sealingKey, sealed, this.#bound(tenant, id));
    return bytes === undefined ? undefined : this.#keep(tenant, { id, key: createSecretKey(bytes) });
  }

  #bound(tenant: string, id: string): readonly string[] {
    return ["data-key", tenant, id, this.#sealedBy];
  }

  #keep(tenant: string, key: DataKey): DataKey {
    // Last used stands last.
    this.#opened.delete(tenant);
    this.#opened.set(tenant, key);
    if (this.#opened.size > CACHED_TENANTS) this.#opened.delete(this.#opened.keys().next().value!);
    return key;
  }
}

/** Where a tenant's sealed records are. */
export function scopeOf(tenant: string): { readonly tenant: string; readonly context: string } {
  return { tenant, context: "secrets" };
}
