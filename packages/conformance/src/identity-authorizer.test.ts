import { createArmature, createIdentityAuthorizer } from "@armature/core";
import { inMemory } from "@armature/core/in-memory";
import { fixedClock } from "@armature/core/testing";
import { afterAll } from "vitest";
import { authorizerSuite } from "./index.ts";

const clock = fixedClock();
const app = await createArmature({ store: inMemory(), clock, relay: false });
afterAll(() => app.close());

/** The default authorizer over the identity context itself: permissions are given as a tenant gives them, by roles. */
authorizerSuite("identity", () => {
  const identity = (tenant: string) => app.as({ tenant, system: "test" }).identity;
  const authorizer = createIdentityAuthorizer({
    clock,
    grants: async (tenant, account) => (await identity(tenant).grantsOf({ account })).permissions,
  });
  app.on("committed", ({ tenant }) => authorizer.invalidate(tenant));
  let made = 0;
  return {
    authorizer,
    async grant(tenant, { type, id }, permissions) {
      const asSystem = identity(tenant);
      made += 1;
      const role = `role-${made}`;
      const nothing = () => undefined;
      await asSystem.createTenant({ name: tenant }).catch(nothing);
      await asSystem.createRole({ role, permissions: [...permissions] });
      if (type === "user") {
        await asSystem.createUser({ userId: id, name: id }).catch(nothing);
        await asSystem.setUserRoles({ userId: id, roles: [role] });
      } else {
        await asSystem.createServiceAccount({ serviceAccountId: id, name: id }).catch(nothing);
        await asSystem.setServiceAccountRoles({ serviceAccountId: id, roles: [role] });
      }
    },
  };
});
