/** What a path and method lead to. */
export type Match<T> =
  | { readonly type: "found"; readonly endpoint: T; readonly parameters: readonly (readonly [string, string])[] }
  /** The path exists with these methods only. */
  | { readonly type: "method"; readonly allow: readonly string[] }
  | { readonly type: "none" };

interface Node<T> {
  readonly literals: Map<string, Node<T>>;
  parameter: Node<T> | undefined;
  readonly endpoints: Map<string, Endpoint<T>>;
}

interface Endpoint<T> {
  readonly value: T;
  readonly template: string;
  /** Names of the parameters, from left to right. */
  readonly names: readonly string[];
}

const emptyNode = <T>(): Node<T> => ({ literals: new Map(), parameter: undefined, endpoints: new Map() });

/** Finds what a path is for. Where a literal part and a parameter both fit, the literal one is preferred. */
export class RouteTable<T> {
  readonly #root = emptyNode<T>();

  /**
   * @param template `/connectors/{connectorId}/actions/{action}`
   * @throws {TypeError} when the method and path lead somewhere already
   */
  add(method: string, template: string, value: T): void {
    let node = this.#root;
    const names: string[] = [];
    for (const part of partsOf(template)) {
      const name = /^\{(\w+)\}$/.exec(part)?.[1];
      if (name === undefined) {
        const next = node.literals.get(part) ?? emptyNode<T>();
        node.literals.set(part, next);
        node = next;
      } else {
        names.push(name);
        node.parameter ??= emptyNode<T>();
        node = node.parameter;
      }
    }
    const existing = [...node.endpoints.values()][0];
    if (node.endpoints.has(method)) throw new TypeError(`Two routes are ${method} ${template}.`);
    if (existing !== undefined && existing.template !== template)
      throw new TypeError(`The routes ${existing.template} and ${template} name the same parts differently.`);
    node.endpoints.set(method, { value, template, names });
  }

  /**
   * @param path as it came, percent-encoded
   * @throws {URIError} when a part that is a parameter is not percent-encoded UTF-8
   */
  match(method: string, path: string): Match<T> {
    const allow = new Set<string>();
    const found = search(this.#root, partsOf(path), 0, [], method, allow);
    if (found !== undefined) {
      const parameters = found.endpoint.names.map(
        (name, index) => [name, decodeURIComponent(found.values[index]!)] as const,
      );
      return { type: "found", endpoint: found.endpoint.value, parameters };
    }
    return allow.size > 0 ? { type: "method", allow: [...allow] } : { type: "none" };
  }
}

function search<T>(
  node: Node<T>,
  parts: readonly string[],
  index: number,
  values: readonly string[],
  method: string,
  allow: Set<string>,
): { readonly endpoint: Endpoint<T>; readonly values: readonly string[] } | undefined {
  const part = parts[index];
  if (part === undefined) {
    for (const each of node.endpoints.keys()) allow.add(each);
    const endpoint = node.endpoints.get(method);
    return endpoint === undefined ? undefined : { endpoint, values };
  }
  const literal = node.literals.get(part);
  const found = literal === undefined ? undefined : search(literal, parts, index + 1, values, method, allow);
  if (found !== undefined || node.parameter === undefined || part === "") return found;
  return search(node.parameter, parts, index + 1, [...values, part], method, allow);
}

/** The parts between slashes; a trailing slash is one more, empty part, so that it leads nowhere. */
function partsOf(path: string): readonly string[] {
  return path.slice(1).split("/");
}
