import { describe, expect, test } from "vitest";
import { type PrincipalInput, toPrincipal } from "../../kernel/principal.ts";
import { fixedClock } from "../../testing/fixed-clock.ts";
import { createIdentityAuthorizer } from "./identity-authorizer.ts";

/** Grants by account, changeable, and what was asked for. */
function fixture(table: Record<string, readonly string[]>, maxEntries = 100) {
  const clock = fixedClock();
  const asked: string[] = [];
  const authorizer = createIdentityAuthorizer({
    clock,
    maxEntries,
    grants: async (tenant, { type, id }) => {
      asked.push(`${tenant} ${type}:${id}`);
      const found = table[`${type}:${id}`];
      if (found?.includes("broken")) throw new Error("the store is away");
      return found ?? [];
    },
  });
  const allows = (principal: PrincipalInput, permission: string) =>
    authorizer.allows(toPrincipal(principal), permission);
  return { authorizer, allows, clock, asked, table };
}

const ann = { tenant: "acme", user: "ann" };

describe("the identity authorizer", () => {
  test("lets the system do everything, within the limits of its credential", async () => {
    const { allows, asked } = fixture({});
    expect(await allows({ tenant: "acme", system: "relay" }, "identity:tenants")).toBe(true);
    const limited = { tenant: "acme", actor: { type: "system", id: "cli" }, limitedTo: ["audit:read"] } as const;
    expect(await allows(limited, "identity:tenants")).toBe(false);
    expect(asked).toEqual([]);
  });

  test("lets users and services do what their roles give, and nothing else", async () => {
    const { allows } = fixture({ "user:ann": ["connectors:*", "audit:read"], "service:importer": ["trading:write"] });
    expect(await allows(ann, "connectors:invoke")).toBe(true);
    expect(await allows(ann, "audit:read")).toBe(true);
    expect(await allows(ann, "trading:write")).toBe(false);
    expect(await allows({ tenant: "acme", service: "importer" }, "trading:write")).toBe(true);
    expect(await allows({ tenant: "acme", user: "importer" }, "trading:write")).toBe(false);
    expect(await allows({ tenant: "acme", user: "nobody" }, "audit:read")).toBe(false);
  });

  test("keeps the management of tenants from owners, who hold everything else", async () => {
    const { allows } = fixture({ "user:ann": ["*"] });
    expect(await allows(ann, "secrets:reveal")).toBe(true);
    expect(await allows(ann, "*")).toBe(true);
    expect(await allows(ann, "identity:tenants")).toBe(false);
    expect(await allows(ann, "identity:authenticate")).toBe(false);
    expect(await allows(ann, "projections:read")).toBe(false);
    expect(await allows(ann, "projections:write")).toBe(false);
  });

  test("an agent may do what the user may that it acts for, and nothing for itself", async () => {
    const { allows } = fixture({ "user:ann": ["connectors:read"], "user:merge": ["*"] });
    const agent = { tenant: "acme", agent: "merge", onBehalfOf: { type: "user", id: "ann" } } as const;
    expect(await allows(agent, "connectors:read")).toBe(true);
    expect(await allows(agent, "connectors:write")).toBe(false);
    expect(await allows({ tenant: "acme", actor: { type: "agent", id: "merge" } }, "connectors:read")).toBe(false);
  });

  test("a service that acts for a user may do what both may", async () => {
    const { allows } = fixture({ "service:portal": ["connectors:*"], "user:ann": ["connectors:read", "audit:read"] });
    const portal = {
      tenant: "acme",
      actor: { type: "service", id: "portal" },
      onBehalfOf: { type: "user", id: "ann" },
    } as const;
    expect(await allows(portal, "connectors:read")).toBe(true);
    expect(await allows(portal, "connectors:write")).toBe(false);
    expect(await allows(portal, "audit:read")).toBe(false);
  });

  test("a limited credential may do no more than its limits, and no more than its owner", async () => {
    const { allows } = fixture({ "user:ann": ["connectors:read", "audit:read"] });
    const limited = { tenant: "acme", actor: { type: "user", id: "ann" }, limitedTo: ["connectors:*"] } as const;
    expect(await allows(limited, "connectors:read")).toBe(true);
    expect(await allows(limited, "connectors:write")).toBe(false);
    expect(await allows(limited, "audit:read")).toBe(false);
    expect(await allows({ ...limited, limitedTo: [] }, "connectors:read")).toBe(false);
  });

  test("asks once for many calls, also when they come at the same moment", async () => {
    const { allows, asked } = fixture({ "user:ann": ["audit:read"] });
    await Promise.all(Array.from({ length: 50 }, () => allows(ann, "audit:read")));
    await allows(ann, "connectors:read");
    expect(asked).toEqual(["acme user:ann"]);
  });

  test("notices after two seconds what another process changed, and at once what this one did", async () => {
    const { allows, authorizer, clock, table, asked } = fixture({ "user:ann": ["audit:read"] });
    const globex = { tenant: "globex", user: "ann" };
    expect(await allows(ann, "audit:read")).toBe(true);
    expect(await allows(globex, "audit:read")).toBe(true);
    table["user:ann"] = [];
    await clock.advance(1_999);
    expect(await allows(ann, "audit:read")).toBe(true);
    authorizer.invalidate("acme");
    expect(await allows(ann, "audit:read")).toBe(false);
    expect(await allows(globex, "audit:read")).toBe(true);
    await clock.advance(1);
    expect(await allows(globex, "audit:read")).toBe(false);
    expect(asked).toEqual(["acme user:ann", "globex user:ann", "acme user:ann", "globex user:ann"]);
  });

  test("does not keep an answer that was on its way when the tenant changed", async () => {
    const clock = fixedClock();
    const answers: ((grants: readonly string[]) => void)[] = [];
    const authorizer = createIdentityAuthorizer({
      clock,
      grants: () => new Promise((resolve) => answers.push(resolve)),
    });
    const before = authorizer.allows(toPrincipal(ann), "audit:read");
    authorizer.invalidate("acme");
    const after = authorizer.allows(toPrincipal(ann), "audit:read");
    answers[0]!(["audit:read"]);
    answers[1]!([]);
    expect(await before).toBe(true);
    expect(await after).toBe(false);
    expect(await authorizer.allows(toPrincipal(ann), "audit:read")).toBe(false);
  });

  test("refuses with the store's own error while grants cannot be read, and asks again afterwards", async () => {
    const { allows, table } = fixture({ "user:ann": ["broken"] });
    await expect(allows(ann, "audit:read")).rejects.toThrow("the store is away");
    table["user:ann"] = ["audit:read"];
    expect(await allows(ann, "audit:read")).toBe(true);
  });

  test("keeps no more answers than it may", async () => {
    const { allows, asked } = fixture({}, 2);
    const [a, b, c] = ["a", "b", "c"].map((user) => ({ tenant: "acme", user }));
    for (const principal of [a!, b!, c!, b!, c!, a!]) await allows(principal, "audit:read");
    expect(asked.map((each) => each.at(-1))).toEqual(["a", "b", "c", "a"]);
  });
});
