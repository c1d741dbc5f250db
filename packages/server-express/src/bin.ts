#!/usr/bin/env node
import { readFileSync } from "node:fs";
import { ArmatureError } from "@armature/core";
import { z } from "zod";
import {
  changeProjection,
  createKey,
  createTenant,
  listKeys,
  listProjections,
  listTenants,
  ownerKey,
  resumeTenant,
  revokeKey,
  showTenant,
  suspendTenant,
} from "./bin/administration.ts";
import { readCommand } from "./bin/command-line.ts";
import { CommandRefused } from "./bin/command-refused.ts";
import { diagnose } from "./bin/doctor.ts";
import { type Finding, fail, findingText } from "./bin/finding.ts";
import { type OpenedApp, openApp } from "./bin/open-app.ts";
import { serve } from "./bin/serve.ts";
import { ConfigInvalid, readConfig, type ServerConfig } from "./config.ts";
import { pinoLogger } from "./pino-logger.ts";

// As in sysexits.h, so that a supervisor can tell what a restart will not mend.
const EX_USAGE = 64;
const EX_CONFIG = 78;

const { version } = z
  .object({ version: z.string() })
  .parse(JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")));

async function main(args: readonly string[]): Promise<void> {
  const command = readCommand(args);
  if (command.name === "help") return print(command.text);
  if (command.name === "version") return print(version);
  if (command.name === "doctor") return runDoctor(command.json);
  const { config, warnings } = readConfig(process.env);
  if (command.name === "start") return serve(config, warnings, version);
  for (const warning of warnings) complain(warning);
  await withApp(config, async ({ app, log }) => {
    switch (command.name) {
      case "migrate":
        await app.migrate();
        return complain("The database is up to date.");
      case "tenant create":
        await createTenant(app, command.tenant, command.displayName);
        if (command.owner === undefined) return print(command.tenant);
        return print(await createKey(app, ownerKey(command.tenant, command.owner)));
      case "tenant list":
        for await (const tenant of listTenants(app, log)) print(JSON.stringify(tenant));
        return;
      case "tenant show":
        return print(JSON.stringify(await showTenant(app, command.tenant)));
      case "tenant suspend":
        await suspendTenant(app, command.tenant, command.reason);
        return complain(`The tenant "${command.tenant}" is suspended.`);
      case "tenant resume":
        await resumeTenant(app, command.tenant);
        return complain(`The tenant "${command.tenant}" is active again.`);
      case "key create":
        return print(await createKey(app, command.request));
      case "key list":
        for await (const key of listKeys(app, command.tenant, command.account)) print(JSON.stringify(key));
        return;
      case "key revoke":
        await revokeKey(app, command.tenant, command.keyId);
        return complain(`The API key "${command.keyId}" is revoked.`);
      case "projection list":
        for (const projection of await listProjections(app)) print(JSON.stringify(projection));
        return;
      case "projection pause":
        return complain(await changeProjection(app, "pause", command.projection));
      case "projection resume":
        return complain(await changeProjection(app, "resume", command.projection));
      case "projection rebuild":
        return complain(await changeProjection(app, "rebuild", command.projection));
    }
  });
}

/** Findings as they are made for a person, or all of them as JSON for a program. */
async function runDoctor(json: boolean): Promise<void> {
  const findings: Finding[] = [];
  const tell = (finding: Finding) => {
    findings.push(finding);
    if (!json) print(findingText(finding));
  };
  try {
    const { config, warnings } = readConfig(process.env);
    for await (const finding of diagnose(config, warnings)) tell(finding);
    if (findings.some(({ status }) => status === "fail")) process.exitCode = 1;
  } catch (error) {
    if (!(error instanceof ConfigInvalid)) throw error;
    for (const sentence of error.sentences) tell(fail("config", sentence, "See armature-server --help."));
    process.exitCode = EX_CONFIG;
  }
  if (json) print(JSON.stringify({ ok: process.exitCode === undefined, findings }));
}

async function withApp(config: ServerConfig, run: (opened: OpenedApp) => Promise<void>): Promise<void> {
  // What a script captures is on standard output; everything else goes to the other one.
  const logger = pinoLogger({ level: "error", destination: { write: (line) => void process.stderr.write(line) } });
  const opened = await openApp(config, { logger, relay: false });
  try {
    await run(opened);
  } finally {
    await opened.close();
  }
}

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

function complain(text: string): void {
  process.stderr.write(`armature-server: ${text}\n`);
}

/** Says what is wrong and gives the code to end with. */
function explain(error: unknown): number {
  if (error instanceof ConfigInvalid) {
    for (const sentence of error.sentences) complain(sentence);
    return EX_CONFIG;
  }
  if (error instanceof CommandRefused) {
    complain(`${error.message}${error.usage ? " See armature-server --help." : ""}`);
    return error.usage ? EX_USAGE : 1;
  }
  if (error instanceof ArmatureError) {
    complain(`${error.message}${hints[error.code] ?? ""}`);
    return 1;
  }
  // A stack is for who looks for a defect of ours.
  const { stack, message = String(error) } = error instanceof Error ? error : {};
  complain(process.env["LOG_LEVEL"] === "debug" ? (stack ?? message) : `${message} (LOG_LEVEL=debug shows where.)`);
  return 1;
}

const hints: Readonly<Record<string, string>> = {
  "store.directory_in_use": " End the server that runs on it first, or use its API.",
  "store.not_migrated": " Run armature-server migrate.",
};

try {
  await main(process.argv.slice(2));
} catch (error) {
  process.exitCode = explain(error);
}
