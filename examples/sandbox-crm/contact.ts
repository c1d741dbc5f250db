import { z } from "zod";

/** A contact as the CRM answers it. */
export const contactSchema = z.object({
  id: z.string(),
  firstName: z.string(),
  lastName: z.string(),
  email: z.string(),
  phone: z.string().nullable(),
  company: z.string().nullable(),
  createdAt: z.iso.datetime(),
  updatedAt: z.iso.datetime(),
});
export type Contact = z.output<typeof contactSchema>;

const text = z.string().trim().min(1).max(200);
export const newContactSchema = z.strictObject({
  firstName: text,
  lastName: text,
  email: z.email().max(200),
  phone: text.nullable().default(null),
  company: text.nullable().default(null),
});
export type NewContact = z.output<typeof newContactSchema>;

export const contactChangesSchema = z
  .strictObject({
    firstName: text.optional(),
    lastName: text.optional(),
    email: z.email().max(200).optional(),
    phone: text.nullable().optional(),
    company: text.nullable().optional(),
  })
  .refine((changes) => Object.keys(changes).length > 0, "name at least one field to change");
export type ContactChanges = z.output<typeof contactChangesSchema>;

/** Ids grow with creation and sort as text. */
export function contactId(number: number): string {
  return `ct_${String(number).padStart(7, "0")}`;
}
