import { createHash } from "node:crypto";
import type { Ids } from "../kernel/ids.ts";

/**
 * Ids that are the same in every run: `con_00000000000000000000000001`, then `…02`. They have the shape of a ULID, so
 * whatever reads ids reads these. `random` gives bytes that look random, differ from call to call, and repeat from run
 * to run: for tests only.
 */
export function sequentialIds(): Ids {
  let made = 0;
  let drawn = 0;
  return {
    next: (prefix) => {
      made += 1;
      return `${prefix}_${String(made).padStart(26, "0")}`;
    },
    random: (bytes) => {
      drawn += 1;
      const blocks = Array.from({ length: Math.ceil(bytes / 32) }, (_, block) =>
        createHash("sha256").update(`${drawn}/${block}`).digest(),
      );
      return new Uint8Array(Buffer.concat(blocks).subarray(0, bytes));
    },
  };
}
