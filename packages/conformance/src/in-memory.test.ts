import { InMemoryCache, InMemoryLease, InMemoryRateLimiter, InProcessBus, inMemory } from "@armature/core/in-memory";
import { fixedClock } from "@armature/core/testing";
import { cacheSuite, eventBusSuite, leaseSuite, rateLimiterSuite, storeSuite } from "./index.ts";

storeSuite("in-memory", () => {
  const clock = fixedClock(Date.now());
  return { store: inMemory({ clock }), pass: (ms) => clock.advance(ms) };
});

eventBusSuite("in-process", () => new InProcessBus());

leaseSuite("in-memory", () => {
  const clock = fixedClock();
  return { lease: new InMemoryLease(clock), pass: (ms) => clock.advance(ms) };
});

leaseSuite("in-memory, on the machine's clock", () => ({ lease: inMemory().lease }));

rateLimiterSuite("in-memory", () => {
  const clock = fixedClock();
  return { rateLimiter: new InMemoryRateLimiter(clock), pass: (ms) => clock.advance(ms) };
});

rateLimiterSuite("in-memory, on the machine's clock", () => ({ rateLimiter: new InMemoryRateLimiter() }));

cacheSuite("in-memory", () => {
  const clock = fixedClock();
  return { cache: new InMemoryCache({ clock }), pass: (ms) => clock.advance(ms) };
});

cacheSuite("in-memory, on the machine's clock", () => ({ cache: new InMemoryCache() }));
