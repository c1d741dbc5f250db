import { mkdtempSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import type { TestProject } from "vitest/node";
import { makeHosts } from "./hosts.ts";
import { packInto, tarballsIn } from "./tarballs.ts";

declare module "vitest" {
  interface ProvidedContext {
    /** Folder of the tarballs, and beside it the hosts that they are installed in. */
    readonly scratch: string;
  }
}

/** Packs every package and installs it in hosts outside of this repository, once for all tests. */
export default async function setup(project: TestProject): Promise<() => void> {
  const scratch = realpathSync(mkdtempSync(path.join(tmpdir(), "armature-packages-")));
  const remove = () => rmSync(scratch, { recursive: true, force: true });
  try {
    packInto(path.join(scratch, "tarballs"));
    await makeHosts(scratch, tarballsIn(path.join(scratch, "tarballs")));
  } catch (error) {
    remove();
    throw error;
  }
  project.provide("scratch", scratch);
  return remove;
}
