/** The value as it comes back from JSON text: a copy that shares nothing, without undefined members and -0. */
export function jsonCopy<T>(value: T): T {
  return copied(value, false) as T;
}

/** The same copy, frozen: it can be given to as many as ask for it. */
export function frozenCopy<T>(value: T): T {
  return copied(value, true) as T;
}

// A quarter of what it takes to write the text and read it.
function copied(value: unknown, frozen: boolean): unknown {
  if (value === null || typeof value !== "object") return plain(value);
  if ("toJSON" in value && typeof value.toJSON === "function") return copied(value.toJSON(), frozen);
  if (Array.isArray(value)) {
    const items: unknown[] = [];
    // Holes too.
    for (let at = 0; at < value.length; at += 1) items.push(copied(value[at], frozen) ?? null);
    return frozen ? Object.freeze(items) : items;
  }
  const copy: Record<string, unknown> = {};
  for (const key of Object.keys(value)) {
    const inner = copied((value as Record<string, unknown>)[key], frozen);
    if (inner === undefined) continue;
    if (key === "__proto__")
      Object.defineProperty(copy, key, { value: inner, configurable: true, enumerable: true, writable: true });
    else copy[key] = inner;
  }
  return frozen ? Object.freeze(copy) : copy;
}

function plain(value: unknown): unknown {
  switch (typeof value) {
    case "number":
      // There is no -0, no NaN and no infinity in JSON.
      return Number.isFinite(value) ? value + 0 : null;
    case "bigint":
      throw new TypeError("JSON has no bigint.");
    case "function":
    case "symbol":
      return undefined;
    default:
      return value;
  }
}
