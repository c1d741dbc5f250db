import { parseArgs } from "node:util";
import type { KeyRequest } from "./administration.ts";
import { CommandRefused } from "./command-refused.ts";

export type Command =
  | { readonly name: "start" }
  | { readonly name: "migrate" }
  | { readonly name: "help" }
  | { readonly name: "version" }
  | {
      readonly name: "tenant create";
      readonly tenant: string;
      readonly displayName: string | undefined;
      readonly owner: string | undefined;
    }
  | { readonly name: "key create"; readonly request: KeyRequest };

export const help = `armature-server [start]
    Runs the server until SIGTERM or SIGINT.

armature-server migrate
    Creates or upgrades what the contexts need in the database. PGlite is migrated by every command.

armature-server tenant create <id> [--name <name>] [--owner <user>]
    Creates a tenant and prints its id. With --owner it also creates that user as the owner, and prints an API key
    instead, once.

armature-server key create --tenant <id> (--user <id> | --service <id>)
                           [--role <role>] [--limited-to <permission,…>] [--name <name>]
    Makes an API key and prints it, once. A user or service account that does not exist is created with --role.

armature-server --help | --version

Variables:
    ARMATURE_KEY             seals every secret: 32 bytes in base64 (openssl rand -base64 32). Needed.
    DATABASE_URL             PostgreSQL; or
    DATA_DIR                 where the embedded PGlite keeps its data (./armature-data)
    MIGRATION_DATABASE_URL   PostgreSQL, as a role that may migrate, where DATABASE_URL's may not
    DATABASE_POOL_SIZE       connections to PostgreSQL (10)
    HOST, PORT               where to listen (127.0.0.1, 3000)
    PUBLIC_URL               where browsers and clients reach the server (http://HOST:PORT)
    ARMATURE_CONFIG          a module that exports connectors, contexts, allowedOrigins
    ALLOWED_ORIGINS          origins that connectors may call although they are private
    RETURN_ORIGINS           origins that the OAuth callback may send a browser on to
    ALLOW_SECRET_REVEAL      whether secrets can be read back through the API (false)
    BODY_LIMIT               longest request body (1mb)
    MAX_TIMEOUT_MS           longest time a client may ask for (120000)
    SHUTDOWN_TIMEOUT_MS      how long requests under way may take at the end (25000)
    LOG_LEVEL                debug, info, warn, error or silent (info)
`;

/**
 * Reads the command line.
 *
 * @throws {CommandRefused} with what is wrong with it
 */
export function readCommand(args: readonly string[]): Command {
  const { values, positionals } = parse(args);
  if (values.help === true) return { name: "help" };
  if (values.version === true) return { name: "version" };
  const command = positionals.slice(0, 2).join(" ");
  switch (command) {
    case "":
    case "start":
    case "migrate":
      only(values, positionals, command.split(" ").length, []);
      return { name: command === "migrate" ? "migrate" : "start" };
    case "tenant create": {
      only(values, positionals, 3, ["name", "owner"]);
      const tenant = positionals[2];
      if (tenant === undefined) throw wrong("tenant create needs the tenant's id.");
      return { name: "tenant create", tenant, displayName: values.name, owner: values.owner };
    }
    case "key create":
      only(values, positionals, 2, ["tenant", "user", "service", "role", "limited-to", "name"]);
      return { name: "key create", request: keyRequest(values) };
    default:
      throw wrong(`There is no command "${positionals.join(" ")}".`);
  }
}

const options = {
  help: { type: "boolean", short: "h" },
  version: { type: "boolean", short: "v" },
  name: { type: "string" },
  owner: { type: "string" },
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
    throw wrong((error as Error).message, error);
  }
}

type Values = ReturnType<typeof parse>["values"];

function keyRequest(values: Values): KeyRequest {
  const { tenant, user, service, role, name = "armature-server" } = values;
  if (tenant === undefined) throw wrong("key create needs --tenant.");
  const id = user ?? service;
  if (id === undefined || (user !== undefined && service !== undefined))
    throw wrong("key create needs --user or --service, and one of them only.");
  const limits = values["limited-to"]?.flatMap((list) => list.split(",")).map((each) => each.trim());
  return { tenant, account: { type: user === undefined ? "service" : "user", id }, role, limitedTo: limits, name };
}

// An option that a command does not read was meant for something.
function only(values: Values, positionals: readonly string[], count: number, allowed: readonly string[]): void {
  const extra = Object.keys(values).find((name) => !allowed.includes(name));
  if (extra !== undefined) throw wrong(`--${extra} means nothing here.`);
  if (positionals.length > count) throw wrong(`"${positionals[count]}" means nothing here.`);
}

function wrong(sentence: string, cause?: unknown): CommandRefused {
  return new CommandRefused(sentence, { usage: true, cause });
}
