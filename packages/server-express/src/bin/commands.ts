import { variables } from "../config-variables.ts";

/** What a command takes on the command line. */
export interface CommandShape {
  /** Behind the command's name. */
  readonly usage: string;
  readonly about: string;
  /** How many arguments stand behind the name, and what each is. */
  readonly arguments: readonly string[];
  readonly options: readonly string[];
}

const shape = (
  usage: string,
  about: string,
  args: readonly string[] = [],
  options: readonly string[] = [],
): CommandShape => ({ usage, about, arguments: args, options });

/** Every command, in the order of the help. */
export const commands = {
  start: shape("", "Runs the server until SIGTERM or SIGINT. What happens without a command too."),
  migrate: shape(
    "",
    "Creates or upgrades what the contexts need in the database. PGlite is migrated by every command.",
  ),
  doctor: shape(
    "[--json]",
    "Looks at configuration, store, secrets, clock, disk and port, and says what to do. Exit code 1 when something fails.",
    [],
    ["json"],
  ),
  "tenant create": shape(
    "<id> [--name <name>] [--owner <user>]",
    "Creates a tenant and prints its id. With --owner it also creates that user as the owner, and prints an API key instead, once.",
    ["the tenant's id"],
    ["name", "owner"],
  ),
  "tenant list": shape("", "Prints every tenant as JSON, one a line, in the order in which they were created."),
  "tenant show": shape("<id>", "Prints a tenant as JSON.", ["the tenant's id"]),
  "tenant suspend": shape(
    "<id> [--reason <text>]",
    "Suspends a tenant: its users, services and keys may do nothing until it is resumed.",
    ["the tenant's id"],
    ["reason"],
  ),
  "tenant resume": shape("<id>", "Ends a tenant's suspension.", ["the tenant's id"]),
  "key create": shape(
    "--tenant <id> (--user <id> | --service <id>) [--role <role>] [--limited-to <permission,…>] [--name <name>]",
    "Makes an API key and prints it, once. A user or service account that does not exist is created with --role.",
    [],
    ["tenant", "user", "service", "role", "limited-to", "name"],
  ),
  "key list": shape(
    "--tenant <id> (--user <id> | --service <id>)",
    "Prints an account's API keys, one line of JSON each, without their secrets.",
    [],
    ["tenant", "user", "service"],
  ),
  "key revoke": shape("<key id> --tenant <id>", "Revokes an API key for good.", ["the key's id"], ["tenant"]),
  "projection list": shape(
    "",
    "Prints every projection, one line of JSON each: how far it is, whether it is paused or has stopped, what is being rebuilt.",
  ),
  "projection pause": shape("<name>", "Has no more events applied to a projection until it is resumed.", [
    "the projection's name",
  ]),
  "projection resume": shape("<name>", "Has a projection go on that was paused, or has stopped at an event.", [
    "the projection's name",
  ]),
  "projection rebuild": shape(
    "<name>",
    "Has a projection's rows made again from the first event on, while the present ones are read.",
    ["the projection's name"],
  ),
} as const satisfies Readonly<Record<string, CommandShape>>;

export type CommandName = keyof typeof commands;

export function isCommand(name: string): name is CommandName {
  return Object.hasOwn(commands, name);
}

/** What `--help` prints: of one command, or of all. */
export function helpText(name?: CommandName): string {
  if (name !== undefined) return section(name);
  return [
    ...(Object.keys(commands) as CommandName[]).map((each) => `${section(each)}\n`),
    "armature-server [<command>] --help | --version\n",
    "Variables:",
    ...Object.entries(variables).map(([variable, { about }]) => `    ${variable.padEnd(24)} ${about}`),
  ].join("\n");
}

function section(name: CommandName): string {
  const { usage, about } = commands[name];
  return `armature-server ${name === "start" ? "[start]" : name}${usage === "" ? "" : ` ${usage}`}\n    ${about}`;
}
