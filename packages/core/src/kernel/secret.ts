const REDACTED = "[secret]";

/**
 * A value that cannot be serialised, logged or put in an event by accident: every way to print it gives `[secret]`.
 * Only `reveal()` opens it.
 */
export class Secret<T> {
  readonly #value: T;

  constructor(value: T) {
    this.#value = value;
    Object.freeze(this);
  }

  /** The plaintext. Call it at the last moment, and never keep the result. */
  reveal(): T {
    return this.#value;
  }

  toString(): string {
    return REDACTED;
  }

  toJSON(): string {
    return REDACTED;
  }

  [Symbol.toPrimitive](): string {
    return REDACTED;
  }

  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return REDACTED;
  }
}
