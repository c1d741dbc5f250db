import { createHash } from "node:crypto";
import { type Contact, type ContactChanges, contactId, type NewContact } from "./contact.ts";
import { Refusal } from "./loopback-server.ts";
import { generateContacts } from "./sample-contacts.ts";

export interface ContactPage {
  readonly contacts: readonly Contact[];
  /** Give it as `after` to get the page that follows; null on the last one. */
  readonly next: string | null;
}

export interface ContactBookStats {
  readonly contacts: number;
  /** Created through the API, the sample not counted. */
  readonly created: number;
  /** Repeated requests that got the first one's answer and created nothing. */
  readonly replayed: number;
}

/** The contacts of one account, in memory. The same account starts with the same contacts in every run. */
export class ContactBook {
  readonly #contacts: Map<string, Contact>;
  readonly #keys = new Map<string, { readonly fingerprint: string; readonly contact: Contact }>();
  readonly #now: () => number;
  #next: number;
  #created = 0;
  #replayed = 0;

  constructor(options: { readonly account: string; readonly count: number; readonly now: () => number }) {
    const sample = generateContacts(options.account, options.count);
    this.#contacts = new Map(sample.map((contact) => [contact.id, contact]));
    this.#next = sample.length + 1;
    this.#now = options.now;
  }

  stats(): ContactBookStats {
    return { contacts: this.#contacts.size, created: this.#created, replayed: this.#replayed };
  }

  /** Pages in the order of creation. A cursor stays good when contacts are added, changed or merged in the meantime. */
  page({ limit, after, email }: { readonly limit: number; readonly after?: string; readonly email?: string }) {
    const afterId = after === undefined ? "" : decodeCursor(after);
    const wanted = email?.toLowerCase();
    const contacts: Contact[] = [];
    for (const contact of this.#contacts.values()) {
      if (contact.id <= afterId || (wanted !== undefined && contact.email.toLowerCase() !== wanted)) continue;
      if (contacts.length === limit) {
        return { contacts, next: encodeCursor(contacts.at(-1)!.id) } satisfies ContactPage;
      }
      contacts.push(contact);
    }
    return { contacts, next: null } satisfies ContactPage;
  }

  get(id: string): Contact {
    const contact = this.#contacts.get(id);
    if (contact === undefined) throw new Refusal(404, "not_found", `There is no contact "${id}".`);
    return contact;
  }

  /** With a key that was used before: the contact of that time, if the input is the same; else refused with 422. */
  create(input: NewContact, idempotencyKey?: string): Contact {
    const fingerprint = createHash("sha256").update(JSON.stringify(input)).digest("hex");
    const earlier = idempotencyKey === undefined ? undefined : this.#keys.get(idempotencyKey);
    if (earlier !== undefined) {
      if (earlier.fingerprint !== fingerprint) {
        throw new Refusal(422, "idempotency_key_reused", "This Idempotency-Key was used with another body.");
      }
      this.#replayed += 1;
      return earlier.contact;
    }
    const at = new Date(this.#now()).toISOString();
    const contact = { id: contactId(this.#next), ...input, createdAt: at, updatedAt: at };
    this.#next += 1;
    this.#created += 1;
    this.#contacts.set(contact.id, contact);
    if (idempotencyKey !== undefined) this.#keys.set(idempotencyKey, { fingerprint, contact });
    return contact;
  }

  update(id: string, changes: ContactChanges): Contact {
    const given = Object.fromEntries(Object.entries(changes).filter(([, value]) => value !== undefined));
    const contact = { ...this.get(id), ...given, updatedAt: new Date(this.#now()).toISOString() };
    this.#contacts.set(id, contact);
    return contact;
  }

  /** What the survivor lacks it takes from the duplicate; the duplicate is gone for good. */
  merge(id: string, duplicateId: string): Contact {
    if (id === duplicateId) {
      throw new Refusal(422, "same_contact", "A contact cannot be merged into itself.");
    }
    const [survivor, duplicate] = [this.get(id), this.get(duplicateId)];
    const merged = {
      ...survivor,
      phone: survivor.phone ?? duplicate.phone,
      company: survivor.company ?? duplicate.company,
      updatedAt: new Date(this.#now()).toISOString(),
    };
    this.#contacts.set(id, merged);
    this.#contacts.delete(duplicateId);
    return merged;
  }
}

function encodeCursor(id: string): string {
  return Buffer.from(id).toString("base64url");
}

function decodeCursor(cursor: string): string {
  const id = Buffer.from(cursor, "base64url").toString("utf8");
  if (!/^ct_\d{7}$/.test(id)) throw new Refusal(400, "invalid_cursor", "The cursor was not given out by this server.");
  return id;
}
