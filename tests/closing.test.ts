import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { useSandbox } from "./connectors/sandbox.ts";

const sandbox = useSandbox();

test("a process that closes its application ends by itself: no timer and no connection keeps it", async () => {
  const script = fileURLToPath(new URL("scenarios/closing-process.ts", import.meta.url));
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ["--conditions=@armature/source", script, sandbox.authorization.origin, sandbox.crm.origin],
    // Killed, and so failed, when it does not.
    { timeout: 15_000 },
  );
  expect(stdout).toBe("closed after Canceled\n");
});
