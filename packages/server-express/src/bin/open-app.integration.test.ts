import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { recordingLogger } from "@armature/core/testing";
import { afterAll, beforeAll, expect, test } from "vitest";
import { readConfig } from "../config.ts";
import { openApp } from "./open-app.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "armature-open-app-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const options = { logger: recordingLogger(), relay: false };
const configOf = (env: Readonly<Record<string, string>>) =>
  readConfig({ ARMATURE_KEY: Buffer.alloc(32, 9).toString("base64"), DATA_DIR: join(folder, "data"), ...env }).config;

test("the app of a configuration keeps its data in the directory that it names", { timeout: 60_000 }, async () => {
  const first = await openApp(configOf({}), options);
  await first.app.as({ tenant: "acme", system: "test" }).identity.createTenant({ name: "Acme" });
  await first.close();
  const second = await openApp(configOf({}), options);
  expect(await second.app.as({ tenant: "acme", system: "test" }).identity.getTenant()).toMatchObject({ name: "Acme" });
  await second.close();
});

test("what cannot be opened leaves nothing open behind it", { timeout: 60_000 }, async () => {
  const held = await openApp(configOf({}), options);
  await expect(openApp(configOf({}), options)).rejects.toMatchObject({ code: "store.directory_in_use" });
  await held.close();
  await (await openApp(configOf({}), options)).close();
});
