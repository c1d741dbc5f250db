import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

/** Starts a program that takes its setting as an argument, and ends when it is left alone. */
export function forked(program: URL, setting: unknown, flags: readonly string[] = []): ChildProcess {
  return fork(fileURLToPath(program), [JSON.stringify(setting)], {
    execArgv: ["--conditions=@armature/source", ...flags],
    serialization: "advanced",
  });
}

/** Its next message; fails when it ends instead. */
export async function messageOf<T>(child: ChildProcess): Promise<T> {
  const enough = new AbortController();
  const exit = once(child, "exit", { signal: enough.signal }).then(() => {
    throw new Error("A process of this work ended.");
  });
  try {
    const [message] = await Promise.race([once(child, "message", { signal: enough.signal }), exit]);
    return message as T;
  } finally {
    enough.abort();
    exit.catch(() => undefined);
  }
}

/** Leaves it alone, and waits until it has ended. */
export async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, "exit");
  child.disconnect();
  await exit;
}
