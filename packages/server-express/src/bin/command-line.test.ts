import { describe, expect, test } from "vitest";
import { variables } from "../config-variables.ts";
import { readCommand } from "./command-line.ts";
import { CommandRefused } from "./command-refused.ts";
import { commands, helpText } from "./commands.ts";

describe("the command line", () => {
  test.each([
    [[], { name: "start" }],
    [["start"], { name: "start" }],
    [["migrate"], { name: "migrate" }],
    [["--help"], { name: "help", text: helpText() }],
    [["key", "create", "-h"], { name: "help", text: helpText("key create") }],
    [["doctor"], { name: "doctor", json: false }],
    [["doctor", "--json"], { name: "doctor", json: true }],
    [["tenant", "list"], { name: "tenant list" }],
    [["tenant", "show", "acme"], { name: "tenant show", tenant: "acme" }],
    [["tenant", "suspend", "acme", "--reason", "unpaid"], { name: "tenant suspend", tenant: "acme", reason: "unpaid" }],
    [["tenant", "resume", "acme"], { name: "tenant resume", tenant: "acme" }],
    [
      ["key", "list", "--tenant", "acme", "--service", "ci"],
      { name: "key list", tenant: "acme", account: { type: "service", id: "ci" } },
    ],
    [["key", "revoke", "key_1", "--tenant=acme"], { name: "key revoke", tenant: "acme", keyId: "key_1" }],
    [["-v"], { name: "version" }],
    [["tenant", "create", "acme"], { name: "tenant create", tenant: "acme", displayName: undefined, owner: undefined }],
    [
      ["tenant", "create", "acme", "--name", "Acme Inc."],
      { name: "tenant create", tenant: "acme", displayName: "Acme Inc.", owner: undefined },
    ],
    [
      ["tenant", "create", "acme", "--owner", "ann"],
      { name: "tenant create", tenant: "acme", displayName: undefined, owner: "ann" },
    ],
    [
      ["key", "create", "--tenant", "acme", "--user", "ann", "--role", "owner"],
      {
        name: "key create",
        request: {
          tenant: "acme",
          account: { type: "user", id: "ann" },
          role: "owner",
          limitedTo: undefined,
          name: "armature-server",
        },
      },
    ],
    [
      [
        "key",
        "create",
        "--tenant=acme",
        "--service=ci",
        "--limited-to=a:read, b:read",
        "--limited-to=c:*",
        "--name=CI",
      ],
      {
        name: "key create",
        request: {
          tenant: "acme",
          account: { type: "service", id: "ci" },
          role: undefined,
          limitedTo: ["a:read", "b:read", "c:*"],
          name: "CI",
        },
      },
    ],
    [["projection", "list"], { name: "projection list" }],
    [["projection", "rebuild", "sales.by_day"], { name: "projection rebuild", projection: "sales.by_day" }],
  ])("%j is understood", (args, command) => {
    expect(readCommand(args)).toEqual(command);
  });

  test.each([
    [["tennant", "create"], 'There is no command "tennant create".'],
    [["tenant"], 'There is no command "tenant".'],
    [["tenant", "create"], "tenant create needs the tenant's id."],
    [["tenant", "create", "acme", "globex"], '"globex" means nothing here.'],
    [["start", "now"], '"now" means nothing here.'],
    [["start", "--role", "owner"], "--role means nothing here."],
    [["key", "create", "acme", "--user", "ann"], '"acme" means nothing here.'],
    [["key", "create", "--user", "ann"], "key create needs --tenant."],
    [["key", "create", "--tenant", "acme"], "key create needs --user or --service, and one of them only."],
    [
      ["key", "create", "--tenant", "acme", "--user", "ann", "--service", "ci"],
      "key create needs --user or --service, and one of them only.",
    ],
    [["key", "create", "--tenant", "acme", "--colour", "red"], "Unknown option '--colour'."],
    [["key", "revoke", "key_1"], "key revoke needs --tenant."],
    [["key", "revoke", "--tenant", "acme"], "key revoke needs the key's id."],
    [["key", "list", "--tenant", "acme"], "key list needs --user or --service, and one of them only."],
    [["projection", "pause"], "projection pause needs the projection's name."],
    [["doctor", "--tenant", "acme"], "--tenant means nothing here."],
    [["migrate", "--json"], "--json means nothing here."],
  ])("%j is refused with what is wrong", (args, sentence) => {
    const reading = () => readCommand(args);
    expect(reading).toThrow(CommandRefused);
    expect(reading).toThrow(sentence);
  });

  test("names every command and every variable in its help", () => {
    for (const word of [...Object.keys(commands), ...Object.keys(variables)]) expect(helpText()).toContain(word);
    expect(helpText("key revoke")).toBe(
      "armature-server key revoke <key id> --tenant <id>\n    Revokes an API key for good.",
    );
  });
});
