import { describe, expect, test } from "vitest";
import { given } from "../../testing/given.ts";
import {
  AccountDisabled,
  AccountNotDisabled,
  RolesChanged,
  ServiceAccountCreated,
  ServiceAccountDisabled,
  ServiceAccountEnabled,
  UserCreated,
  UserDisabled,
  UserEnabled,
  UserUpdated,
} from "./contract.ts";
import { ServiceAccount } from "./service-account.ts";
import { User } from "./user.ts";

const at = "2026-01-01T00:00:00.000Z";
const profile = { name: "Ann Lee", email: "ann@example.com" };
const ann = [UserCreated, { userId: "ann", roles: ["sales"], at }, profile] as const;
const importer = [ServiceAccountCreated, { serviceAccountId: "importer", name: "Importer", roles: [], at }] as const;

describe("a user", () => {
  test("has a name and an e-mail address that no event shows", () => {
    const user = given(User)
      .when(() => User.create("ann", profile, ["sales", "sales"], at))
      .then([[UserCreated, { userId: "ann", roles: ["sales"], at }]]);
    expect(user.state).toEqual({ ...profile, roles: ["sales"], status: "active", createdAt: at });
  });

  test("can be given another name and address; the event says only which of them changed", () => {
    const user = given(User, "ann", [ann])
      .when((it) => it.update({ name: "Ann Young", email: null }))
      .then([[UserUpdated, { userId: "ann", changed: ["name", "email"] }]]);
    expect(user.state.name).toBe("Ann Young");
    expect(user.state.email).toBeUndefined();
  });

  test("is not changed by what is the same already", () => {
    given(User, "ann", [ann])
      .when((it) => {
        it.update({ name: "Ann Lee" });
        it.setRoles(["sales", "sales"]);
      })
      .then([]);
  });

  test("can be given other roles", () => {
    given(User, "ann", [ann])
      .when((it) => it.setRoles(["support", "owner"]))
      .then([[RolesChanged, { account: { type: "user", id: "ann" }, roles: ["support", "owner"] }]]);
  });

  test("can be disabled and enabled, each once", () => {
    const disabled = [UserDisabled, { userId: "ann" }] as const;
    given(User, "ann", [ann])
      .when((it) => it.disable())
      .then([disabled]);
    given(User, "ann", [ann, disabled])
      .when((it) => it.disable())
      .thenThrows(AccountDisabled);
    given(User, "ann", [ann, disabled])
      .when((it) => it.enable())
      .then([[UserEnabled, { userId: "ann" }]]);
    given(User, "ann", [ann])
      .when((it) => it.enable())
      .thenThrows(AccountNotDisabled);
  });

  test("counts as an owner only while active", () => {
    const owner = [UserCreated, { userId: "ann", roles: ["owner"], at }, profile] as const;
    const disabled = given(User, "ann", [owner])
      .when((it) => it.disable())
      .then([[UserDisabled, { userId: "ann" }]]);
    expect(disabled.isActiveOwner).toBe(false);
  });
});

describe("a service account", () => {
  test("can be given roles, disabled and enabled", () => {
    const account = { type: "service", id: "importer" } as const;
    const disabled = [ServiceAccountDisabled, { serviceAccountId: "importer" }] as const;
    given(ServiceAccount)
      .when(() => ServiceAccount.create("importer", "Importer", [], at))
      .then([importer]);
    given(ServiceAccount, "importer", [importer])
      .when((it) => it.setRoles(["sales"]))
      .then([[RolesChanged, { account, roles: ["sales"] }]]);
    given(ServiceAccount, "importer", [importer])
      .when((it) => it.disable())
      .then([disabled]);
    given(ServiceAccount, "importer", [importer, disabled])
      .when((it) => it.disable())
      .thenThrows(AccountDisabled, { account });
    given(ServiceAccount, "importer", [importer, disabled])
      .when((it) => it.enable())
      .then([[ServiceAccountEnabled, { serviceAccountId: "importer" }]]);
    given(ServiceAccount, "importer", [importer])
      .when((it) => it.enable())
      .thenThrows(AccountNotDisabled, { account });
  });
});
