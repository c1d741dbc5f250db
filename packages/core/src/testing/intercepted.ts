import { wrappedPort } from "./wrapped-port.ts";

/** Runs in place of a port's method; `proceed` is the method itself. */
export type Interception = (proceed: () => Promise<unknown>, args: readonly unknown[]) => unknown;

export interface Intercepted<Port> {
  /** The port to give to `createArmature`. */
  readonly port: Port;
  /**
   * Runs the interception around every call of a method, `commit` or `outbox.settle`, until it is lifted: it may throw
   * before or after it proceeds, wait, count, or not proceed at all. Of several, the last runs first.
   *
   * @returns what lifts it
   */
  around(method: string, interception: Interception): () => void;
}

/** A port whose calls a test can hold, fail and count: `around("commit", async (go) => { await go(); throw … })`. */
export function intercepted<Port extends object>(port: Port): Intercepted<Port> {
  const interceptions = new Map<string, Interception[]>();
  return {
    port: wrappedPort(port, (method, call, args) =>
      (interceptions.get(method) ?? []).reduce<() => unknown>(
        (inner, interception) => () => interception(async () => inner(), args),
        call,
      )(),
    ),
    around(method, interception) {
      const present = interceptions.get(method) ?? [];
      interceptions.set(method, [...present, interception]);
      return () => {
        const rest = (interceptions.get(method) ?? []).filter((each) => each !== interception);
        interceptions.set(method, rest);
      };
    },
  };
}
