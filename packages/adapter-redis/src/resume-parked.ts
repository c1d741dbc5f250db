import type { DeadLetterEntry } from "./dead-letters.ts";
import { lettersOf } from "./dead-letters.ts";
import type { DeliveringMember } from "./delivering-member.ts";
import type { Lane } from "./partition.ts";
import { readEvent } from "./stream-event.ts";
import { DROP_WISH, SETTLE } from "./stream-scripts.ts";

/**
 * Hands the dead letters of a subject to the handler, oldest first, each once. When all of them are handled the subject
 * is parked no longer; the first that fails leaves it and the rest where they are.
 *
 * @param wish `skip` takes the oldest away unhandled
 * @returns false when the partition is not the member's any more, as far as Redis knows
 */
export async function resumeParked(
  { redis, base, group, handle, settings: { logger } }: DeliveringMember,
  lane: Lane,
  wish: string,
): Promise<boolean> {
  const { partition, key } = lane;
  const letters = `${base}:group:${group}:dead:${partition.number}`;
  let skip = wish === "skip";
  let after: string | undefined;
  for (;;) {
    const { entries, next } = await lettersOf(redis, letters, after);
    for (const letter of entries) {
      if (letter.lane !== key) continue;
      if (!skip && !(await handled(letter))) {
        await redis.run(DROP_WISH, [base], [group, key]);
        return true;
      }
      skip = false;
      const args = [group, partition.number, partition.token, letter.id, key];
      const left = Number(await redis.run(SETTLE, [base], args));
      if (left === 0) partition.parked.delete(key);
      if (left <= 0) return left === 0;
    }
    if (next === undefined) break;
    after = next;
  }
  // Somebody has removed letters by hand: none is left, whatever the count says.
  await redis.run(DROP_WISH, [base], [group, key, partition.number, partition.token]);
  partition.parked.delete(key);
  return true;

  async function handled(letter: DeadLetterEntry): Promise<boolean> {
    const read = readEvent(letter.json);
    if (!("event" in read) || partition.lost) return false;
    try {
      await handle(read.event);
      return true;
    } catch (error) {
      logger.warn("A dead letter could not be handled and stays", {
        group,
        eventId: read.event.id,
        error: error instanceof Error ? `${error.name}: ${error.message}` : String(error),
      });
      return false;
    }
  }
}
