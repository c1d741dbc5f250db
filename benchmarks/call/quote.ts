import { z } from "zod";

/** Eight fields in three levels, as an input of a product has them. */
export const order = z.strictObject({
  customer: z.strictObject({
    name: z.string().min(1).max(200),
    email: z.string().min(3).max(200),
    address: z.strictObject({
      street: z.string().min(1).max(200),
      city: z.string().min(1).max(200),
      country: z.string().length(2),
    }),
  }),
  total: z.strictObject({ amount: z.int().min(0), currency: z.string().length(3) }),
  express: z.boolean(),
});
export type Order = z.infer<typeof order>;

export const sample: Order = {
  customer: {
    name: "Ann Miller",
    email: "ann@acme.example",
    address: { street: "1 Main Street", city: "Springfield", country: "US" },
  },
  total: { amount: 1999, currency: "USD" },
  express: true,
};

/** What every handler does: a little, so that the call is what is measured. */
export async function quote(asked: Order): Promise<Order> {
  return { ...asked, total: { ...asked.total, amount: asked.total.amount + 500 } };
}
