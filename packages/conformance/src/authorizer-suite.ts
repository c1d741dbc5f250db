import type { Authorizer, Party, Principal } from "@armature/core";
import { beforeAll, expect } from "vitest";
import { fresh } from "./expectations.ts";
import { describeSuite, type SuiteOptions } from "./suite.ts";

export interface AuthorizerSetup {
  readonly authorizer: Authorizer;
  /** Makes these the permissions of a user or service in a tenant; resolves when decisions follow them. */
  grant(tenant: string, party: Party, permissions: readonly string[]): Promise<void> | void;
}

/** What every `Authorizer` must do. */
export function authorizerSuite(
  adapter: string,
  setup: () => AuthorizerSetup | Promise<AuthorizerSetup>,
  options: SuiteOptions = {},
): void {
  describeSuite("Authorizer", adapter, options, (test) => {
    let ready: AuthorizerSetup;
    beforeAll(async () => {
      ready = await setup();
    });
    const ann: Party = { type: "user", id: "ann" };
    const importer: Party = { type: "service", id: "importer" };
    const as = (tenant: string, actor: Principal["actor"], more: Partial<Principal> = {}): Principal =>
      Object.freeze({ tenant, actor, ...more });
    const allowed = async (principal: Principal, ...permissions: readonly string[]) => {
      const found: string[] = [];
      for (const permission of permissions)
        if (await ready.authorizer.allows(principal, permission)) found.push(permission);
      return found;
    };
    const withGrants = async (...grants: readonly (readonly [Party, ...(readonly string[])])[]) => {
      const tenant = fresh("t");
      for (const [party, ...permissions] of grants) await ready.grant(tenant, party, permissions);
      return tenant;
    };

    test("nobody may do anything that was not granted", async () => {
      const tenant = await withGrants([ann, "orders:read"]);
      expect(await allowed(as(tenant, ann), "orders:read", "orders:write", "orders", "orders:rea", "*")).toEqual([
        "orders:read",
      ]);
      expect(await allowed(as(tenant, { type: "user", id: "bob" }), "orders:read")).toEqual([]);
      expect(await allowed(as(fresh("t"), ann), "orders:read")).toEqual([]);
    });

    test("a permission counts in its tenant only", async () => {
      const [acme, globex] = [await withGrants([ann, "orders:*"]), await withGrants([ann, "notes:*"])];
      expect(await allowed(as(acme, ann), "orders:read", "notes:read")).toEqual(["orders:read"]);
      expect(await allowed(as(globex, ann), "orders:read", "notes:read")).toEqual(["notes:read"]);
    });

    test("a user and a service of the same name are two", async () => {
      const tenant = await withGrants([{ type: "service", id: "ann" }, "orders:read"]);
      expect(await allowed(as(tenant, ann), "orders:read")).toEqual([]);
      expect(await allowed(as(tenant, { type: "service", id: "ann" }), "orders:read")).toEqual(["orders:read"]);
    });

    test("a grant for a whole area covers what is in it and nothing beside it", async () => {
      const tenant = await withGrants([ann, "orders:*"]);
      expect(
        await allowed(as(tenant, ann), "orders:read", "orders:lines:read", "orders2:read", "order:read", "orders"),
      ).toEqual(["orders:read", "orders:lines:read"]);
    });

    test("a credential that is limited may do no more than its limits, nor more than its owner", async () => {
      const tenant = await withGrants([ann, "orders:*", "notes:read"]);
      const limited = (...limitedTo: string[]) => as(tenant, ann, { limitedTo });
      const asked = ["orders:read", "orders:write", "notes:read", "users:read"];
      expect(await allowed(limited("orders:read", "users:read"), ...asked)).toEqual(["orders:read"]);
      expect(await allowed(limited("*"), ...asked)).toEqual(["orders:read", "orders:write", "notes:read"]);
      expect(await allowed(limited(), ...asked)).toEqual([]);
    });

    test("an agent may do what the party may for which it acts, and nothing more", async () => {
      const tenant = await withGrants([ann, "orders:read"], [importer, "orders:write"]);
      const agent = (onBehalfOf?: Party) =>
        as(tenant, { type: "agent", id: "merge" }, onBehalfOf === undefined ? {} : { onBehalfOf });
      expect(await allowed(agent(ann), "orders:read", "orders:write")).toEqual(["orders:read"]);
      expect(await allowed(agent(importer), "orders:read", "orders:write")).toEqual(["orders:write"]);
      expect(await allowed(agent(), "orders:read", "orders:write")).toEqual([]);
    });

    test("whoever acts for another may never do what that party may not", async () => {
      const tenant = await withGrants([importer, "orders:*", "notes:*"], [ann, "orders:read"]);
      const acting = as(tenant, importer, { onBehalfOf: ann });
      expect(await allowed(acting, "orders:read", "orders:write", "notes:read")).toEqual(["orders:read"]);
    });

    test("a permission that is taken away is gone", async () => {
      const tenant = await withGrants([ann, "orders:read"]);
      expect(await allowed(as(tenant, ann), "orders:read")).toEqual(["orders:read"]);
      await ready.grant(tenant, ann, ["notes:read"]);
      expect(await allowed(as(tenant, ann), "orders:read", "notes:read")).toEqual(["notes:read"]);
      await ready.grant(tenant, ann, []);
      expect(await allowed(as(tenant, ann), "orders:read", "notes:read")).toEqual([]);
    });

    test("many questions at once get the answers that they get one by one", async () => {
      const tenant = await withGrants([ann, "orders:read"]);
      const answers = await Promise.all(
        Array.from({ length: 60 }, (_, at) =>
          ready.authorizer.allows(
            as(tenant, at % 3 === 0 ? ann : importer),
            at % 2 === 0 ? "orders:read" : "orders:write",
          ),
        ),
      );
      expect(answers).toEqual(Array.from({ length: 60 }, (_, at) => at % 6 === 0));
    });
  });
}
