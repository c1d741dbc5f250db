import { parseArgs } from "node:util";
import type { KeyRequest } from "./administration.ts";
import { CommandRefused } from "./command-refused.ts";
import { type CommandName, commands, helpText, isCommand } from "./commands.ts";

type Account = KeyRequest["account"];

export type Command =
  | { readonly name: "start" | "migrate" | "version" }
  | { readonly name: "help"; readonly text: string }
  | { readonly name: "doctor"; readonly json: boolean }
  | {
      readonly name: "tenant create";
      readonly tenant: string;
      readonly displayName: string | undefined;
      readonly owner: string | undefined;
    }
  | { readonly name: "tenant show" | "tenant resume"; readonly tenant: string }
  | { readonly name: "tenant suspend"; readonly tenant: string; readonly reason: string | undefined }
  | { readonly name: "key create"; readonly request: KeyRequest }
  | { readonly name: "key list"; readonly tenant: string; readonly account: Account }
  | { readonly name: "key revoke"; readonly tenant: string; readonly keyId: string }
  | { readonly name: "tenant list" | "projection list" }
  | { readonly name: "projection pause" | "projection resume" | "projection rebuild"; readonly projection: string };

/**
 * Reads the command line.
 *
 * @throws {CommandRefused} with what is wrong with it
 */
export function readCommand(args: readonly string[]): Command {
  const { values, positionals } = parse(args);
  const { name, rest } = commandOf(positionals);
  if (values.help === true) return { name: "help", text: positionals.length === 0 ? helpText() : helpText(name) };
  if (values.version === true) return { name: "version" };
  const wanted = commands[name];
  // What a command does not read was meant for something.
  const extra = Object.keys(values).find((option) => !(wanted.options as readonly string[]).includes(option));
  if (extra !== undefined) throw wrong(`--${extra} means nothing here.`);
  if (rest.length > wanted.arguments.length) throw wrong(`"${rest[wanted.arguments.length]}" means nothing here.`);
  if (rest.length < wanted.arguments.length) throw wrong(`${name} needs ${wanted.arguments[rest.length]}.`);
  const [argument = ""] = rest;
  switch (name) {
    case "start":
    case "migrate":
    case "tenant list":
    case "projection list":
      return { name };
    case "doctor":
      return { name, json: values.json ?? false };
    case "tenant create":
      return { name, tenant: argument, displayName: values.name, owner: values.owner };
    case "tenant show":
    case "tenant resume":
      return { name, tenant: argument };
    case "tenant suspend":
      return { name, tenant: argument, reason: values.reason };
    case "key create":
      return { name, request: keyRequest(values) };
    case "key list":
      return { name, tenant: tenantOf(name, values), account: accountOf(name, values) };
    case "key revoke":
      return { name, tenant: tenantOf(name, values), keyId: argument };
    case "projection pause":
    case "projection resume":
    case "projection rebuild":
      return { name, projection: argument };
  }
}

function commandOf(positionals: readonly string[]): { readonly name: CommandName; readonly rest: readonly string[] } {
  const [first = "start", second = ""] = positionals;
  const two = `${first} ${second}`;
  if (isCommand(two)) return { name: two, rest: positionals.slice(2) };
  if (isCommand(first)) return { name: first, rest: positionals.slice(1) };
  throw wrong(`There is no command "${positionals.join(" ")}".`);
}

const options = {
  help: { type: "boolean", short: "h" },
  version: { type: "boolean", short: "v" },
  json: { type: "boolean" },
  name: { type: "string" },
  owner: { type: "string" },
  reason: { type: "string" },
  tenant: { type: "string" },
  user: { type: "string" },
  service: { type: "string" },
  role: { type: "string" },
  "limited-to": { type: "string", multiple: true },
} as const;

function parse(args: readonly string[]) {
  try {
    return parseArgs({ args: [...args], options, allowPositionals: true });
  } catch (error) {
    // Node goes on with advice that is none of ours.
    const [sentence] = (error as Error).message.split(". ");
    throw wrong(`${sentence!.replace(/\.$/, "")}.`, error);
  }
}

type Values = ReturnType<typeof parse>["values"];

function keyRequest(values: Values): KeyRequest {
  const { role, name = "armature-server" } = values;
  const limits = values["limited-to"]?.flatMap((list) => list.split(",")).map((each) => each.trim());
  const command = "key create";
  return { tenant: tenantOf(command, values), account: accountOf(command, values), role, limitedTo: limits, name };
}

function tenantOf(command: CommandName, { tenant }: Values): string {
  if (tenant === undefined) throw wrong(`${command} needs --tenant.`);
  return tenant;
}

function accountOf(command: CommandName, { user, service }: Values): Account {
  const id = user ?? service;
  if (id === undefined || (user !== undefined && service !== undefined))
    throw wrong(`${command} needs --user or --service, and one of them only.`);
  return { type: user === undefined ? "service" : "user", id };
}

function wrong(sentence: string, cause?: unknown): CommandRefused {
  return new CommandRefused(sentence, { usage: true, cause });
}
