import { ended, forked, messageOf } from "../forked.ts";

/** What a serving process is started with. */
export interface ServingSetting {
  readonly by: "armature" | "floor";
  readonly url: string;
  /** What the roles of the database start with. */
  readonly name: string;
  readonly connections: number;
}

/** Where it listens, and the key that it wants to see. */
export interface Served {
  readonly port: number;
  readonly key: string;
}

/** A server in a process of its own. It ends when it is closed, or when this process does. */
export async function serve(setting: ServingSetting): Promise<Served & { close(): Promise<void> }> {
  const child = forked(new URL("serving-process.ts", import.meta.url), setting);
  const served = await messageOf<Served>(child);
  return { ...served, close: () => ended(child) };
}
