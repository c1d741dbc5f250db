import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";
import { cacheSuite, leaseSuite, rateLimiterSuite } from "@armature/conformance";
import { fixedClock } from "@armature/core/testing";
import { afterAll } from "vitest";
import { type SqliteOptions, sqlite } from "./index.ts";

const folder = mkdtempSync(path.join(tmpdir(), "armature-sqlite-"));
const opened: { close(): void }[] = [];
afterAll(() => {
  for (const each of opened) each.close();
  rmSync(folder, { recursive: true, force: true });
});

const open = (name: string, options: Partial<SqliteOptions> = {}) => {
  const adapter = sqlite({ file: path.join(folder, name), ...options });
  opened.push(adapter);
  return adapter;
};

// region suites
/** Two instances on one file, as two processes have them, and a way to keep both from it. */
const shared = (name: string) => {
  const [here, elsewhere] = [open(name, { waitMs: 1_000 }), open(name)];
  const loseBackend = () => {
    const other = new DatabaseSync(path.join(folder, name));
    other.exec("BEGIN IMMEDIATE");
    return async () => other.close();
  };
  return { here, elsewhere, loseBackend };
};

leaseSuite("SQLite", () => {
  const { here, elsewhere, loseBackend } = shared("leases");
  return { lease: here.lease, elsewhere: elsewhere.lease, loseBackend };
});
// endregion suites

cacheSuite("SQLite", () => {
  const { here, elsewhere, loseBackend } = shared("cache");
  return { cache: here.cache, elsewhere: elsewhere.cache, loseBackend };
});

rateLimiterSuite("SQLite", () => {
  const { here, elsewhere, loseBackend } = shared("limits");
  return { rateLimiter: here.rateLimiter, elsewhere: elsewhere.rateLimiter, loseBackend };
});

leaseSuite("SQLite, on a clock that stands still", () => {
  const clock = fixedClock();
  const [here, elsewhere] = [open("still", { clock }), open("still", { clock })];
  return { lease: here.lease, elsewhere: elsewhere.lease, pass: (ms) => clock.advance(ms) };
});

rateLimiterSuite("SQLite, on a clock that can be moved", () => {
  const clock = fixedClock();
  return { rateLimiter: open("moved", { clock }).rateLimiter, pass: (ms) => clock.advance(ms) };
});
