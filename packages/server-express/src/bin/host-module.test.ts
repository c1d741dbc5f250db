import { randomBytes } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ConfigInvalid } from "../config.ts";
import { loadHostModule } from "./host-module.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "armature-host-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function moduleOf(source: string): Promise<string> {
  const file = join(folder, `${randomBytes(4).toString("hex")}.mjs`);
  await writeFile(file, source);
  return file;
}

describe("a host's module", () => {
  test("is not needed", async () => {
    expect(await loadHostModule(undefined)).toEqual({
      ...{ connectors: [], contexts: [], workflows: [], agents: [], models: {}, allowedOrigins: [] },
    });
  });

  test("exports by name, or all at once by default", async () => {
    const connector = "{ id: 'crm', actions: {} }";
    const named = await moduleOf(`export const connectors = [${connector}]; export const other = 1;`);
    const whole = await moduleOf(
      `export default { connectors: [${connector}], allowedOrigins: ["http://127.0.0.1:1"] };`,
    );
    expect(await loadHostModule(named)).toMatchObject({ connectors: [{ id: "crm" }], allowedOrigins: [] });
    expect(await loadHostModule(whole)).toMatchObject({
      connectors: [{ id: "crm" }],
      allowedOrigins: ["http://127.0.0.1:1"],
    });
  });

  test.each([
    ["that does not run", "throw new Error('no such thing')", "cannot be loaded: no such thing"],
    [
      "that exports nothing of use",
      "export const conectors = []",
      "exports none of connectors, contexts, workflows, agents, tenantAgents, models, prices, allowedOrigins, mcp",
    ],
    [
      "whose default export has a name that is none",
      "export default { conectors: [] }",
      'Unrecognized key: "conectors"',
    ],
    ["whose default export is no object", "export default 5", "has a default export that is no object"],
    ["whose connectors are none", "export const connectors = [{}]", "connectors.0 is not what defineConnector gives"],
    ["whose contexts are none", "export const contexts = [5]", "contexts.0 is not what defineContext gives"],
    ["whose models are none", "export const models = { default: {} }", "models.default is not a model of the AI SDK"],
    ["whose tools are none", "export const mcp = { tools: 5 }", "mcp.tools must be a list of tools"],
    ["whose origins are none", "export const allowedOrigins = ['here']", "allowedOrigins.0"],
  ])("%s is refused with what is wrong", async (_name, source, sentence) => {
    const loading = loadHostModule(await moduleOf(source));
    await expect(loading).rejects.toThrow(ConfigInvalid);
    await expect(loading).rejects.toThrow(sentence);
  });

  test("that is not there is refused by its name", async () => {
    const file = join(folder, "nowhere.mjs");
    await expect(loadHostModule(file)).rejects.toThrow(`ARMATURE_CONFIG: the module "${file}" cannot be loaded`);
  });
});
