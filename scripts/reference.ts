// Writes docs/reference from the contracts: `pnpm docs:reference`. A test fails when the pages are older than them.
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import process from "node:process";
import { pathToFileURL } from "node:url";
import { mcp } from "../packages/adapter-mcp/src/contract.ts";
import * as store from "../packages/adapter-postgres/src/errors.ts";
import * as redis from "../packages/adapter-redis/src/errors.ts";
import * as vault from "../packages/adapter-vault/src/errors.ts";
import type { Contract } from "../packages/core/src/kernel/contract.ts";
import { type ErrorClass, kernelErrors } from "../packages/core/src/kernel/errors.ts";
import { portErrors } from "../packages/core/src/kernel/port-errors.ts";
import { httpErrors } from "../packages/server-express/src/http-errors.ts";
import { malformedRequests } from "../packages/server-express/src/malformed-requests.ts";
import { problemsPage } from "./problems-page.ts";
import { contextPage, indexPage } from "./reference-page.ts";
import { remoteAgentsOpenApi } from "./remote-agents-openapi.ts";

const root = path.dirname(import.meta.dirname);
const contexts = path.join(root, "packages/core/src/contexts");

/** The pages by their path from the root, as they should be. */
export async function referencePages(): Promise<ReadonlyMap<string, string>> {
  // Parts of a context may be there before it offers anything.
  const offering = readdirSync(contexts).filter((folder) => existsSync(path.join(contexts, folder, "contract.ts")));
  const own = await Promise.all(offering.map(contractOf));
  const contracts = [...own, mcp].sort((one, other) => (one.name < other.name ? -1 : 1));
  return new Map([
    ["docs/reference/README.md", indexPage(contracts, kernelErrors)],
    ["docs/reference/remote-agents.openapi.json", remoteAgentsOpenApi()],
    ["docs/reference/problems.md", problemsPage(allErrors(contracts), malformedRequests)],
    ...contracts.map((each) => [`docs/reference/${each.name}.md`, contextPage(each)] as const),
  ]);
}

/** Everything that an answer of the reference server can refuse with. */
function allErrors(contracts: readonly Contract[]): readonly ErrorClass[] {
  const declared = contracts.flatMap(({ operations }) => Object.values(operations).flatMap(({ errors }) => errors));
  const ofStore = [store.StoreUnavailable, store.StoreNotMigrated, store.StoreFailed];
  const ofVault = Object.values(vault).filter((each) => typeof each === "function" && "code" in each) as ErrorClass[];
  const ofRedis = [redis.RedisUnavailable, redis.RedisTimedOut, redis.RedisRefused, redis.RedisFailed];
  return [...kernelErrors, ...portErrors, ...httpErrors, ...ofStore, ...ofRedis, ...ofVault, ...declared];
}

async function contractOf(folder: string): Promise<Contract> {
  const module: object = await import(pathToFileURL(path.join(contexts, folder, "contract.ts")).href);
  const contract = Object.values(module).find(isContract);
  if (contract === undefined) throw new Error(`contexts/${folder}/contract.ts exports no contract.`);
  return contract;
}

function isContract(value: unknown): value is Contract {
  return typeof value === "object" && value !== null && "name" in value && "operations" in value && "events" in value;
}

if (process.argv[1] === import.meta.filename) {
  rmSync(path.join(root, "docs/reference"), { recursive: true, force: true });
  mkdirSync(path.join(root, "docs/reference"), { recursive: true });
  const pages = await referencePages();
  for (const [file, text] of pages) writeFileSync(path.join(root, file), text);
  console.log(`Wrote ${pages.size} pages to docs/reference.`);
}
