import { z } from "zod";

/** The input fields of a list: `z.strictObject({ …paging })`. */
export const paging = {
  /** 1 to 200; 50 when absent. */
  limit: z.int().min(1).max(200).optional(),
  /** The `next` of the page before. */
  after: z.string().min(1).max(2000).optional(),
};

/** The output of a list: its items, and the cursor of the next page where there is one. */
export function pageOf<Item extends z.ZodType>(item: Item) {
  return z.object({ items: z.array(item), next: z.string().optional() });
}

/** A part of a list. */
export interface Page<T> {
  readonly items: readonly T[];
  /** Opaque; pass it as `after` to get the next page. Absent on the last page. */
  readonly next?: string | undefined;
}
