/** Runs in place of a port's method; `call` is the method itself, as it was called. */
export type AroundCall = (method: string, call: () => unknown, args: readonly unknown[]) => unknown;

/** The port with something around every call of a method, also of the parts it holds: `commit`, `outbox.settle`. */
export function wrappedPort<Port extends object>(port: Port, around: AroundCall, prefix = ""): Port {
  return new Proxy(port, {
    get(target, key) {
      const value: unknown = Reflect.get(target, key, target);
      if (typeof key === "symbol" || value === null || value === undefined) return value;
      const name = `${prefix}${key}`;
      if (typeof value === "object") return wrappedPort(value, around, `${name}.`);
      if (typeof value !== "function") return value;
      return (...args: unknown[]) => around(name, () => value.apply(target, args), args);
    },
  });
}
