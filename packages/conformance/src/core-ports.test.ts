import { inspect } from "node:util";
import { createIdentityAuthorizer, systemClock, systemIds } from "@armature/core";
import { fixedClock, recordingLogger } from "@armature/core/testing";
import { authorizerSuite, clockSuite, idsSuite, loggerSuite } from "./index.ts";

clockSuite("the machine's", () => ({ clock: systemClock() }));

clockSuite("fixed", () => {
  const clock = fixedClock();
  return { clock, pass: (ms) => clock.advance(ms) };
});

idsSuite("system", systemIds);

loggerSuite("recording", () => {
  const logger = recordingLogger();
  return {
    logger,
    lines: () => logger.entries.map((entry) => inspect(entry, { depth: 10, breakLength: Infinity, compact: true })),
  };
});

authorizerSuite("by roles", () => {
  const granted = new Map<string, readonly string[]>();
  const authorizer = createIdentityAuthorizer({
    clock: fixedClock(),
    grants: async (tenant, { type, id }) => granted.get(`${tenant} ${type}:${id}`) ?? [],
  });
  return {
    authorizer,
    grant: (tenant, { type, id }, permissions) => {
      granted.set(`${tenant} ${type}:${id}`, permissions);
      authorizer.invalidate(tenant);
    },
  };
});
