import { describe, expect, it } from "vitest";
import { InvalidInput } from "./errors.ts";
import { covers, describePrincipal, type Principal, type PrincipalInput, tenantId, toPrincipal } from "./principal.ts";

describe("a principal", () => {
  it("can be written short, for a user, a service, an agent or the system", () => {
    expect(toPrincipal({ tenant: "acme", user: "ann" })).toEqual({
      tenant: "acme",
      actor: { type: "user", id: "ann" },
    });
    expect(toPrincipal({ tenant: "acme", service: "billing" })).toEqual({
      tenant: "acme",
      actor: { type: "service", id: "billing" },
    });
    expect(toPrincipal({ tenant: "acme", agent: "merge", onBehalfOf: { type: "user", id: "ann" } })).toEqual({
      tenant: "acme",
      actor: { type: "agent", id: "merge" },
      onBehalfOf: { type: "user", id: "ann" },
    });
    expect(toPrincipal({ tenant: "acme", system: "relay" })).toEqual({
      tenant: "acme",
      actor: { type: "system", id: "relay" },
    });
  });

  it("in full stays what it is, and nobody can change it afterwards", () => {
    const full: Principal = { tenant: "acme", actor: { type: "user", id: "ann" }, limitedTo: ["crm:read"] };
    const principal = toPrincipal(full);
    expect(principal).toEqual(full);
    expect(principal).not.toBe(full);
    for (const part of [principal, principal.actor, principal.limitedTo]) expect(Object.isFrozen(part)).toBe(true);
    const agent = toPrincipal({ tenant: "acme", agent: "a", onBehalfOf: { type: "user", id: "ann" } });
    expect(() => Object.assign(agent.onBehalfOf!, { id: "bob" })).toThrow(TypeError);
  });

  it("is refused when anything of it is missing, wrong or unknown", () => {
    const wrong: unknown[] = [
      ...[null, undefined, "acme", 7, [], {}, { tenant: "acme" }, { user: "ann" }, { tenant: "", user: "ann" }],
      ...[
        { tenant: "acme", user: "" },
        { tenant: "acme", user: 7 },
        { tenant: "acme", user: "x".repeat(201) },
      ],
      ...[
        { tenant: "acme", user: "ann", admin: true },
        { tenant: "acme", user: "ann", service: "b" },
      ],
      ...[
        { tenant: "acme", actor: { type: "root", id: "x" } },
        { tenant: "acme", actor: { type: "user", id: "a", x: 1 } },
      ],
      ...[
        { tenant: "acme", user: "ann", onBehalfOf: { type: "agent", id: "x" } },
        { tenant: "acme", user: "a", limitedTo: "*" },
      ],
    ];
    for (const input of wrong)
      expect(() => toPrincipal(input as PrincipalInput), JSON.stringify(input)).toThrow(InvalidInput);
  });

  it("reads as a sentence", () => {
    expect(describePrincipal(toPrincipal({ tenant: "acme", user: "ann" }))).toBe("user:ann");
    const agent = toPrincipal({ tenant: "acme", agent: "merge", onBehalfOf: { type: "service", id: "crm" } });
    expect(describePrincipal(agent)).toBe("agent:merge on behalf of service:crm");
  });
});

describe("a tenant id", () => {
  it("can stand in a key, a path and a schema", () => {
    for (const id of ["a", "acme", "acme-2", "0", "a".repeat(63)]) expect(tenantId.safeParse(id).success).toBe(true);
    const wrong = ["", "-a", "a-", "Acme", "a_b", "a/b", "a.b", "..", "a b", "ä", "a\n", "a\0", "a".repeat(64), "a'--"];
    for (const id of wrong) expect([id, tenantId.safeParse(id).success]).toEqual([id, false]);
  });
});

describe("a granted permission", () => {
  it("covers itself, all of its context, or everything", () => {
    expect(covers("crm:read", "crm:read")).toBe(true);
    expect(covers("crm:*", "crm:read")).toBe(true);
    expect(covers("*", "crm:read")).toBe(true);
  });

  it("covers nothing else", () => {
    const pairs = [
      ["crm:read", "crm:write"],
      ["crm:read", "crm:read-all"],
      ["crm:*", "crm2:read"],
      ["crm:*", "crm"],
    ];
    for (const [granted, asked] of [
      ...pairs,
      ["cr*", "crm:read"],
      ["", "crm:read"],
      ["crm:read", "*"],
      ["crm:", "crm:read"],
    ])
      expect([granted, asked, covers(granted!, asked!)]).toEqual([granted, asked, false]);
  });
});
