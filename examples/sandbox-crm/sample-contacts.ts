import { createHash } from "node:crypto";
import { type Contact, contactId } from "./contact.ts";

const firstNames =
  "Ada Björn Chiara Dmitri Esi Fatima Grace Hiroshi Inés Jamal Katarzyna Liam Mei Noor Olu Priya Quentin Rosa Sven Tamika Umar Vera Wanjiru Xavier Yuki Zoë".split(
    " ",
  );
const lastNames =
  "Adeyemi Bianchi Chen Díaz Eriksson Fischer García Haddad Ivanova Johnson Kowalski Lindqvist Müller Nakamura O’Brien Patel Quispe Rossi Silva Tanaka Usman Virtanen Williams Xu Yılmaz Zając".split(
    " ",
  );
const companies = ["Acorn Foods", "Blue Harbor", "Cedar & Sons", "Delta Print", "Elm Street Dental", "Fjord Travel"];
const firstCreation = Date.UTC(2025, 0, 1);
const hour = 3_600_000;

/**
 * As many contacts as asked for, the same ones for the same account. About one in twenty is an earlier contact again as
 * people enter it twice: the address in capitals, the telephone number written in another way or left out.
 */
export function generateContacts(account: string, count: number): Contact[] {
  const random = seeded(account);
  const pick = <Item>(items: readonly Item[]): Item => items[Math.floor(random() * items.length)]!;
  const contacts: Contact[] = [];
  for (let number = 1; number <= count; number += 1) {
    const at = new Date(firstCreation + number * hour).toISOString();
    const identity = { id: contactId(number), createdAt: at, updatedAt: at };
    const isDuplicate = contacts.length > 20 && random() < 0.05;
    if (isDuplicate) {
      const original = pick(contacts);
      contacts.push({
        ...original,
        ...identity,
        email: original.email.toUpperCase(),
        phone: random() < 0.5 ? null : (original.phone?.replaceAll("-", " ") ?? null),
      });
      continue;
    }
    const [firstName, lastName, company] = [pick(firstNames), pick(lastNames), pick(companies)];
    contacts.push({
      ...identity,
      firstName,
      lastName,
      email: `${ascii(firstName)}.${ascii(lastName)}.${number}@${ascii(company)}.example`,
      phone: random() < 0.8 ? `+1-555-01${String(Math.floor(random() * 100)).padStart(2, "0")}-${number}` : null,
      company: random() < 0.9 ? company : null,
    });
  }
  return contacts;
}

function ascii(text: string): string {
  return text
    .normalize("NFD")
    .replaceAll("ł", "l")
    .replaceAll("ı", "i")
    .replace(/[^a-zA-Z]/g, "")
    .toLowerCase();
}

/** Random numbers in [0, 1) that are the same for the same seed (mulberry32). */
function seeded(seed: string): () => number {
  let state = createHash("sha256").update(seed).digest().readUInt32LE();
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
