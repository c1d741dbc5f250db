import { describe, expect, test } from "vitest";
import { NotFound } from "../../kernel/errors.ts";
import { commonPermissions } from "../../kernel/principal.ts";
import { given } from "../../testing/given.ts";
import { RoleCreated, RoleDeleted, RoleUpdated } from "./contract.ts";
import { Role, sameRoles } from "./role.ts";

const at = "2026-01-01T00:00:00.000Z";
const sales = [RoleCreated, { role: "sales", permissions: ["connectors:read"], at }] as const;
const deleted = [RoleDeleted, { role: "sales" }] as const;

describe("a role", () => {
  test("gives its permissions, and others after it was changed", () => {
    const role = given(Role, "sales", [sales])
      .when((it) => it.update(["connectors:read", "connectors:write", "connectors:write"]))
      .then([[RoleUpdated, { role: "sales", permissions: ["connectors:read", "connectors:write"] }]]);
    expect(role.permissions).toEqual(["connectors:read", "connectors:write"]);
  });

  test("gives nothing once it is deleted, and cannot be changed or deleted again", () => {
    const role = given(Role, "sales", [sales])
      .when((it) => it.delete())
      .then([deleted]);
    expect(role.permissions).toEqual([]);
    given(Role, "sales", [sales, deleted])
      .when((it) => it.update(["*"]))
      .thenThrows(NotFound);
    given(Role, "sales", [sales, deleted])
      .when((it) => it.delete())
      .thenThrows(NotFound);
  });

  test("two lists of roles are the same in whatever order and with repetitions", () => {
    expect(sameRoles(["a", "b", "a"], ["b", "a"])).toBe(true);
    expect(sameRoles(["a"], ["a", "b"])).toBe(false);
    expect(sameRoles(["a", "b"], ["a"])).toBe(false);
    expect(sameRoles(["a"], ["b"])).toBe(false);
  });
});

describe("what two lists of permissions have in common", () => {
  test.each([
    [["*"], ["connectors:read"], ["connectors:read"]],
    [["connectors:*"], ["*"], ["connectors:*"]],
    [
      ["connectors:*", "audit:read"],
      ["connectors:read", "audit:*"],
      ["connectors:read", "audit:read"],
    ],
    [["connectors:read"], ["connectors:write"], []],
    [[], ["*"], []],
  ])("%j and %j: %j", (some, others, common) => {
    expect(commonPermissions(some, others)).toEqual(common);
  });
});
