import { connectorAction } from "@armature/core";
import { z } from "zod";

// Shapes and names are those of HubSpot's own description of its contacts API, version 2026-03
// (HubSpot/HubSpot-public-api-spec-collection, PublicApiSpecs/CRM/Contacts). Answers are read tolerantly: members that
// are not listed here are dropped, and words that may be added to a list are plain text.

const CONTACTS = "/crm/objects/2026-03/contacts";
const READ = ["crm.objects.contacts.read"];
const WRITE = ["crm.objects.contacts.write"];

const timestamp = z.iso.datetime({ offset: true });
const id = z.string().min(1);
/** Of a property or an object type. Lists of them travel separated by commas. */
const name = z.string().regex(/^[^,]+$/);

const page = z.object({ after: z.string(), link: z.string().optional() });
const paging = z.object({ next: page.optional() }).optional();

const historicValue = z.object({
  value: z.string(),
  timestamp,
  sourceType: z.string(),
  sourceId: z.string().optional(),
  sourceLabel: z.string().optional(),
  updatedByUserId: z.int().optional(),
});

const contact = z.object({
  id: z.string(),
  /** By name. Null is a property that was asked for and has no value, which the description leaves out. */
  properties: z.record(z.string(), z.string().nullable()),
  propertiesWithHistory: z.record(z.string(), z.array(historicValue)).optional(),
  createdAt: timestamp,
  updatedAt: timestamp,
  archived: z.boolean(),
  archivedAt: timestamp.optional(),
  /** The contact's page in HubSpot. */
  url: z.string().optional(),
  /** What the caller named the write, to find it again in a batch's answer. */
  objectWriteTraceId: z.string().optional(),
});
export type HubSpotContact = z.infer<typeof contact>;

const contactWithAssociations = contact.extend({
  associations: z
    .record(z.string(), z.object({ results: z.array(z.object({ id: z.string(), type: z.string() })), paging }))
    .optional(),
});

const upsertedContact = contact.extend({ new: z.boolean() });

/** One answer for all of a batch's statuses: with 207, some of it succeeded and `errors` tells of the rest. */
const batchOf = <Item extends z.ZodType>(item: Item) =>
  z.object({
    status: z.string(),
    results: z.array(item),
    numErrors: z.int().default(0),
    errors: z
      .array(
        z.object({
          status: z.string(),
          category: z.string(),
          message: z.string(),
          /** What was wrong with which input: `ids`, `objectWriteTraceId`. */
          context: z.record(z.string(), z.array(z.string())).default({}),
        }),
      )
      .default([]),
    startedAt: timestamp,
    completedAt: timestamp,
  });
const contactBatch = batchOf(contact);
const upsertedBatch = batchOf(upsertedContact);

/** Values by property name. An empty text clears a property. */
const properties = z.record(name, z.string());
const associations = z
  .array(
    z.strictObject({
      to: z.strictObject({ id }),
      types: z.array(
        z.strictObject({
          associationCategory: z.enum(["HUBSPOT_DEFINED", "INTEGRATOR_DEFINED", "USER_DEFINED", "WORK"]),
          associationTypeId: z.int(),
        }),
      ),
    }),
  )
  .default([]);

/** HubSpot's guide names 100 as the most of one request; the description names no number. */
const inputsOf = <Item extends z.ZodType>(item: Item) => z.array(item).min(1).max(100);

const wanted = {
  properties: z.array(name).optional(),
  propertiesWithHistory: z.array(name).optional(),
  /** Object types whose associated ids are wanted. */
  associations: z.array(name).optional(),
  archived: z.boolean().optional(),
};
const toNew = z.strictObject({ properties, associations, objectWriteTraceId: z.string().optional() });
const toExisting = z.strictObject({
  id,
  idProperty: name.optional(),
  properties,
  objectWriteTraceId: z.string().optional(),
});

const filter = z.strictObject({
  propertyName: name,
  operator: z.enum([
    ...(["BETWEEN", "CONTAINS_TOKEN", "EQ", "GT", "GTE", "HAS_PROPERTY", "IN", "LT", "LTE", "NEQ"] as const),
    ...(["NOT_CONTAINS_TOKEN", "NOT_HAS_PROPERTY", "NOT_IN"] as const),
  ]),
  value: z.string().optional(),
  values: z.array(z.string()).optional(),
  highValue: z.string().optional(),
});

const contactPage = z.object({ results: z.array(contactWithAssociations), paging });
const searchPage = z.object({ total: z.int(), results: z.array(contact), paging });

export const contactActions = {
  listContacts: connectorAction({
    summary: "Lists contacts, a page at a time; `paging.next.after` is `after` of the next page.",
    risk: "read",
    scopes: READ,
    input: z.strictObject({ limit: z.int().min(1).max(100).default(100), after: z.string().optional(), ...wanted }),
    output: contactPage,
    run: ({ limit, after, ...rest }, { http }) =>
      http.get(CONTACTS, { query: { limit, after, ...queryOf(rest) }, schema: contactPage }),
  }),

  getContact: connectorAction({
    summary: "Reads one contact by its id, or by the value of a unique property that `idProperty` names.",
    risk: "read",
    scopes: READ,
    input: z.strictObject({ contactId: id, idProperty: name.optional(), ...wanted }),
    output: contactWithAssociations,
    run: ({ contactId, idProperty, ...rest }, { http }) =>
      http.get(pathOf(contactId), { query: { idProperty, ...queryOf(rest) }, schema: contactWithAssociations }),
  }),

  createContact: connectorAction({
    summary: "Creates a contact. HubSpot recognises no repetition: use batchUpsertContacts where one may happen.",
    risk: "write",
    idempotency: "none",
    scopes: WRITE,
    input: z.strictObject({ properties, associations }),
    output: contact,
    run: (input, { http }) => http.post(CONTACTS, { json: input, schema: contact }),
  }),

  updateContact: connectorAction({
    summary: "Overwrites the given properties of a contact and leaves the rest.",
    risk: "write",
    // It sets values, so setting them again changes nothing.
    idempotency: "natural",
    scopes: WRITE,
    input: z.strictObject({ contactId: id, idProperty: name.optional(), properties }),
    output: contact,
    run: ({ contactId, idProperty, ...json }, { http }) =>
      http.patch(pathOf(contactId), { query: { idProperty }, json, schema: contact }),
  }),

  mergeContacts: connectorAction({
    // "Merging contacts cannot be undone": developers.hubspot.com, merge two contact records.
    summary: "Merges a contact into a primary one. HubSpot cannot take them apart again.",
    risk: "irreversible",
    idempotency: "none",
    scopes: WRITE,
    input: z.strictObject({ primaryObjectId: id, objectIdToMerge: id }),
    output: contact,
    run: (input, { http }) => http.post(`${CONTACTS}/merge`, { json: input, schema: contact }),
  }),

  searchContacts: connectorAction({
    summary: "Finds contacts by a text or by filters: groups are alternatives, the filters of a group hold together.",
    risk: "read",
    scopes: READ,
    input: z.strictObject({
      query: z.string().max(3000).optional(),
      filterGroups: z
        .array(z.strictObject({ filters: z.array(filter) }))
        .max(6)
        .default([]),
      /** Property names to sort by. */
      sorts: z.array(z.string()).default([]),
      properties: z.array(name).default([]),
      limit: z.int().min(1).max(200).default(100),
      /** `paging.next.after` of the page before; the description asks for one on the first page too. */
      after: z.string().default("0"),
    }),
    output: searchPage,
    run: (input, { http }) => http.post(`${CONTACTS}/search`, { json: input, schema: searchPage }),
  }),

  batchReadContacts: connectorAction({
    summary: "Reads up to 100 contacts by id, or by the unique property that `idProperty` names.",
    risk: "read",
    scopes: READ,
    input: z.strictObject({
      inputs: inputsOf(z.strictObject({ id })),
      idProperty: name.optional(),
      properties: z.array(name).default([]),
      propertiesWithHistory: z.array(name).default([]),
      archived: z.boolean().optional(),
    }),
    output: contactBatch,
    run: ({ archived, ...json }, { http }) =>
      http.post(`${CONTACTS}/batch/read`, { query: { archived }, json, schema: contactBatch }),
  }),

  batchCreateContacts: connectorAction({
    summary: "Creates up to 100 contacts. HubSpot recognises no repetition: look at `errors` before sending any again.",
    risk: "write",
    idempotency: "none",
    scopes: WRITE,
    input: z.strictObject({ inputs: inputsOf(toNew) }),
    output: contactBatch,
    run: (input, { http }) => http.post(`${CONTACTS}/batch/create`, { json: input, schema: contactBatch }),
  }),

  batchUpdateContacts: connectorAction({
    summary: "Overwrites the given properties of up to 100 contacts and leaves the rest.",
    risk: "write",
    idempotency: "natural",
    scopes: WRITE,
    input: z.strictObject({ inputs: inputsOf(toExisting) }),
    output: contactBatch,
    run: (input, { http }) => http.post(`${CONTACTS}/batch/update`, { json: input, schema: contactBatch }),
  }),

  batchUpsertContacts: connectorAction({
    summary:
      "Creates or updates up to 100 contacts, told apart by a unique property: repeating it makes no second one.",
    risk: "write",
    // Told apart by the value of `idProperty`, so what a first attempt created a second one updates.
    idempotency: "natural",
    scopes: WRITE,
    input: z.strictObject({ inputs: inputsOf(toExisting.extend({ idProperty: name })) }),
    output: upsertedBatch,
    run: (input, { http }) => http.post(`${CONTACTS}/batch/upsert`, { json: input, schema: upsertedBatch }),
  }),
};

function pathOf(contactId: string): string {
  return `${CONTACTS}/${encodeURIComponent(contactId)}`;
}

interface Wanted {
  readonly properties?: readonly string[] | undefined;
  readonly propertiesWithHistory?: readonly string[] | undefined;
  readonly associations?: readonly string[] | undefined;
  readonly archived?: boolean | undefined;
}

function queryOf({ archived, ...lists }: Wanted): Record<string, string | boolean | undefined> {
  const joined = Object.entries(lists).map(([key, names]) => [key, names?.length ? names.join(",") : undefined]);
  return { archived, ...Object.fromEntries(joined) };
}
