import { describe, expect, test } from "vitest";
import { given } from "../../testing/given.ts";
import {
  LastOwner,
  OwnerAdded,
  OwnerRemoved,
  TenantAlreadySuspended,
  TenantCreated,
  TenantNotSuspended,
  TenantRenamed,
  TenantResumed,
  TenantSuspended,
} from "./contract.ts";
import { Tenant } from "./tenant.ts";

const at = "2026-01-01T00:00:00.000Z";
const ann = { type: "user", id: "ann" } as const;
const importer = { type: "service", id: "importer" } as const;
const acme = [TenantCreated, { name: "Acme", at }] as const;

describe("a tenant", () => {
  test("begins active and without owners", () => {
    const tenant = given(Tenant)
      .when(() => Tenant.create("acme", "Acme", at))
      .then([acme]);
    expect(tenant.state).toEqual({ name: "Acme", status: "active", owners: 0, createdAt: at });
  });

  test("can be renamed; the same name again changes nothing", () => {
    given(Tenant, "acme", [acme])
      .when((tenant) => tenant.rename("Acme Ltd"))
      .then([[TenantRenamed, { name: "Acme Ltd" }]]);
    given(Tenant, "acme", [acme])
      .when((tenant) => tenant.rename("Acme"))
      .then([]);
  });

  test("can be suspended and resumed, each once", () => {
    const suspended = [TenantSuspended, { reason: "unpaid" }] as const;
    given(Tenant, "acme", [acme])
      .when((tenant) => tenant.suspend("unpaid"))
      .then([suspended]);
    given(Tenant, "acme", [acme, suspended])
      .when((tenant) => tenant.suspend(undefined))
      .thenThrows(TenantAlreadySuspended);
    given(Tenant, "acme", [acme, suspended])
      .when((tenant) => tenant.resume())
      .then([[TenantResumed, {}]]);
    given(Tenant, "acme", [acme])
      .when((tenant) => tenant.resume())
      .thenThrows(TenantNotSuspended);
  });

  test("lets an owner go while another one stays, and keeps the last", () => {
    given(Tenant, "acme", [acme, [OwnerAdded, { account: ann }], [OwnerAdded, { account: importer }]])
      .when((tenant) => tenant.ownershipChanged(ann, true, false))
      .then([[OwnerRemoved, { account: ann }]]);
    given(Tenant, "acme", [acme, [OwnerAdded, { account: ann }]])
      .when((tenant) => tenant.ownershipChanged(ann, true, false))
      .thenThrows(LastOwner, { account: ann });
  });

  test("hears nothing of a change that leaves an owner an owner", () => {
    given(Tenant, "acme", [acme, [OwnerAdded, { account: ann }]])
      .when((tenant) => tenant.ownershipChanged(ann, true, true))
      .then([]);
  });
});
