import { embeddedEngine, type StoreAdapter } from "@armature/core";
import { inMemory } from "@armature/core/in-memory";
import { executionEngineSuite } from "./index.ts";

const quick = { pollMs: 20, leaseMs: 500 };

executionEngineSuite("embedded, in memory", () => {
  const store = inMemory();
  return {
    open: async () => {
      const { lent, cut } = mortal(store);
      return { options: { store: lent, executions: quick }, kill: async () => cut() };
    },
  };
});

executionEngineSuite("embedded, apart from the application's store", () => {
  const store = inMemory();
  const apart = inMemory();
  return {
    open: async () => {
      const [own, its] = [mortal(store), mortal(apart)];
      return {
        options: { store: own.lent, executions: { engine: embeddedEngine({ ...quick, store: its.lent }) } },
        kill: async () => {
          own.cut();
          its.cut();
        },
      };
    },
  };
});

/** The same store, which somebody else closes, until it is cut: from then on nothing reaches it. */
function mortal(store: StoreAdapter): { readonly lent: StoreAdapter; cut(): void } {
  let dead = false;
  const over = <T extends object>(target: T): T =>
    new Proxy(target, {
      get: (_, key) => {
        if (key === "close") return async () => {};
        const value: unknown = Reflect.get(target, key, target);
        if (typeof value === "object" && value !== null) return over(value);
        if (typeof value !== "function") return value;
        return (...given: unknown[]) =>
          dead ? Promise.reject(new Error("The process was killed.")) : value.apply(target, given);
      },
    });
  const cut = () => {
    dead = true;
  };
  return { lent: over(store), cut };
}
