import type { PublicationLog, Publications } from "./publications.ts";

/** What a draining process is started with. */
export interface DrainSetting {
  /** The file beside this one that says how it drains. */
  readonly file: string;
  readonly url: string;
  /** What the roles of the database start with. */
  readonly name: string;
  /** How many processes drain at the same time. */
  readonly processes: number;
}

/** One process's part in a drain. */
export interface Drainer {
  /** There is something: looks until there is nothing. */
  begin(): void;
  close(): Promise<void>;
}

/** How one of the files makes it; it tells of each batch that it has published. */
export type MakeDrainer = (
  setting: DrainSetting,
  log: PublicationLog,
  published: (count: number) => void,
) => Promise<Drainer>;

export type Ask = { readonly ask: "drain" | "log" | "close" };
export type Told =
  | { readonly told: "ready" | "closed" }
  | { readonly told: "published"; readonly count: number }
  | { readonly told: "log"; readonly log: Publications };
