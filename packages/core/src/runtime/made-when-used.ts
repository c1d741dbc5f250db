/**
 * A constructor of objects with these members, which all come from what `make` gives: made when the first of them is
 * used. For what takes longer to make than most calls take to run.
 */
export function madeWhenUsed<T extends object>(members: Readonly<Record<keyof T, true>>): new (make: () => T) => T {
  class MadeWhenUsed {
    readonly #make: () => T;
    #made: T | undefined;

    constructor(make: () => T) {
      this.#make = make;
    }

    static member(self: MadeWhenUsed, name: keyof T): T[keyof T] {
      self.#made ??= self.#make();
      return self.#made[name];
    }
  }
  for (const name of Object.keys(members) as (keyof T)[])
    Object.defineProperty(MadeWhenUsed.prototype, name, {
      enumerable: true,
      get(this: MadeWhenUsed) {
        return MadeWhenUsed.member(this, name);
      },
    });
  return MadeWhenUsed as unknown as new (
    make: () => T,
  ) => T;
}
