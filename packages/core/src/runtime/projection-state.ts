import { z } from "zod";
import type { Clock } from "../kernel/clock.ts";
import { toInstant } from "../kernel/clock.ts";
import { parse } from "../kernel/parse.ts";
import type { Positions, StoredProjection } from "../kernel/projection-store.ts";
import type { JsonObject } from "../kernel/schema.ts";

/** The event that a generation cannot get past, until somebody resumes it or a newer version takes its place. */
const stop = z.object({
  eventId: z.string(),
  eventType: z.string(),
  /** Its context, and its position there. */
  context: z.string(),
  position: z.int(),
  reason: z.string(),
  attempts: z.int(),
  time: z.string(),
});

const generation = z.object({
  number: z.int(),
  /** The definition's version by which its rows are made. */
  version: z.int(),
  status: z.enum(["building", "serving", "retired"]),
  startedAt: z.string(),
  stopped: stop.optional(),
});

const body = z.object({ paused: z.boolean(), generations: z.array(generation), last: z.int() });

export type Stop = z.infer<typeof stop>;
export type Generation = z.infer<typeof generation>;

/** A projection as all processes know it: its generations, and whether it is paused. */
export interface ProjectionState {
  readonly revision: number;
  readonly paused: boolean;
  readonly generations: readonly Generation[];
  /** The highest number that a generation ever had. */
  readonly last: number;
  readonly positions: Readonly<Record<number, Positions>>;
}

/** A change of everything but positions, as the store takes it. */
export type Next = Pick<StoredProjection, "serving" | "body">;

const NONE: ProjectionState = { revision: 0, paused: false, generations: [], last: 0, positions: {} };

/** What is stored, read. Before anything was, there is a projection without generations. */
export function toState(stored: StoredProjection | undefined): ProjectionState {
  if (stored === undefined) return NONE;
  return {
    ...parse(body, stored.body, "The state of a projection"),
    revision: stored.revision,
    positions: stored.positions,
  };
}

/** The state with these parts changed. */
export function changed(
  state: ProjectionState,
  parts: Partial<Pick<ProjectionState, "paused" | "generations" | "last">>,
): Next {
  const { paused, generations, last } = { ...state, ...parts };
  return {
    serving: generations.find(({ status }) => status === "serving")?.number,
    body: { paused, generations, last } as unknown as JsonObject,
  };
}

/** A new generation is begun; one that is still being built gives way to it. */
export function begun(state: ProjectionState, version: number, clock: Clock): Next {
  const number = state.last + 1;
  const kept = state.generations.map((each) =>
    each.status === "building" ? { ...each, status: "retired" as const } : each,
  );
  return changed(state, {
    generations: [...kept, { number, version, status: "building", startedAt: toInstant(clock.now()) }],
    last: number,
  });
}

/** The generation is read from now on; what was read before goes. */
export function switched(state: ProjectionState, to: Generation): Next {
  return changed(state, {
    generations: state.generations.map((each) => ({
      ...each,
      status:
        each.number === to.number
          ? ("serving" as const)
          : each.status === "serving"
            ? ("retired" as const)
            : each.status,
    })),
  });
}

/** The state with another version of one of its generations. */
export function withGeneration(state: ProjectionState, next: Generation): Next {
  return changed(state, {
    generations: state.generations.map((each) => (each.number === next.number ? next : each)),
  });
}

/** Nothing is left of the generation. */
export function gone(state: ProjectionState, { number }: Generation): Next {
  return changed(state, { generations: state.generations.filter((each) => each.number !== number) });
}
