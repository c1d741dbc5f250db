import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import {
  type AgentDefinition,
  type ConnectorDefinition,
  type ContextDefinition,
  type LanguageModel,
  type ModelPrices,
  modelPrices,
  type TenantAgents,
  type Workflow,
} from "@armature/core";
import { z } from "zod";
import { ConfigInvalid } from "../config.ts";
import type { McpOptions } from "../mcp-options.ts";

/** What a host gives the reference server beside the environment. */
export interface HostModule {
  readonly connectors: readonly ConnectorDefinition[];
  readonly contexts: readonly ContextDefinition[];
  readonly workflows: readonly Workflow[];
  readonly agents: readonly AgentDefinition[];
  readonly tenantAgents?: TenantAgents | undefined;
  readonly models: Readonly<Record<string, LanguageModel>>;
  readonly prices?: ModelPrices | undefined;
  readonly allowedOrigins: readonly string[];
  readonly mcp?: Omit<McpOptions, "path"> | undefined;
}

const definitions = <T>(what: string, fits: (value: object) => boolean) =>
  z
    .array(
      z.custom<T>((value) => typeof value === "object" && value !== null && fits(value), `is not what ${what} gives`),
    )
    .default([]);

const exported = z.strictObject({
  connectors: definitions<ConnectorDefinition>("defineConnector", (value) => "id" in value && "actions" in value),
  contexts: definitions<ContextDefinition>("defineContext", (value) => "contract" in value && "handlers" in value),
  workflows: definitions<Workflow>("defineWorkflow", (value) => "activities" in value && "run" in value),
  agents: definitions<AgentDefinition>("defineAgent", (value) => "instructions" in value && "tools" in value),
  tenantAgents: z
    .custom<TenantAgents>(
      (value) => typeof value === "object" && value !== null && "models" in value,
      "names no models for agents of tenants",
    )
    .optional(),
  models: z
    .record(
      z.string(),
      z.custom<LanguageModel>(
        (value) => typeof value === "object" && value !== null && "doGenerate" in value,
        "is not a model of the AI SDK",
      ),
    )
    .default({}),
  prices: modelPrices.optional(),
  allowedOrigins: z.array(z.url({ protocol: /^https?$/ })).default([]),
  mcp: z
    .strictObject({
      tools: z.custom<McpOptions["tools"]>(Array.isArray, "must be a list of tools"),
      hosts: z.array(z.string()).optional(),
      name: z.string().optional(),
      version: z.string().optional(),
      instructions: z.string().optional(),
    })
    .optional(),
});
const names = Object.keys(exported.shape);

/**
 * Loads the module that ARMATURE_CONFIG names: `connectors`, `contexts`, `workflows`, `agents`, `tenantAgents`,
 * `models`, `prices`, `allowedOrigins` and `mcp`, exported by name or in the default export.
 *
 * @throws {ConfigInvalid} when it cannot be loaded or exports something else
 */
export async function loadHostModule(path: string | undefined): Promise<HostModule> {
  if (path === undefined) return exported.parse({});
  const complain = (what: string, cause?: unknown) =>
    new ConfigInvalid([`ARMATURE_CONFIG: the module ${what}`], { cause });
  let loaded: Readonly<Record<string, unknown>>;
  try {
    loaded = await import(pathToFileURL(resolve(path)).href);
  } catch (cause) {
    throw complain(`"${path}" cannot be loaded: ${(cause as Error).message}`, cause);
  }
  const whole = (loaded["default"] ?? {}) as object;
  if (typeof whole !== "object") throw complain(`"${path}" has a default export that is no object.`);
  // A module may export other things by name; its default export is for us alone.
  const named = Object.fromEntries(names.filter((name) => name in loaded).map((name) => [name, loaded[name]]));
  if (Object.keys({ ...named, ...whole }).length === 0)
    throw complain(`"${path}" exports none of ${names.join(", ")}.`);
  const parsed = exported.safeParse({ ...named, ...whole });
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw complain(`"${path}" does not fit: ${issue!.path.join(".")} ${issue!.message}.`);
}
