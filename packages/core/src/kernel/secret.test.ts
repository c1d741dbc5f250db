import { Console } from "node:console";
import { Writable } from "node:stream";
import { format, inspect } from "node:util";
import { deserialize, serialize } from "node:v8";
import { describe, expect, it } from "vitest";
import { Secret } from "./secret.ts";

const CANARY = "canary-31af";
const secret = new Secret(CANARY);

function logged(...values: unknown[]): string {
  let text = "";
  const stream = new Writable({
    write(chunk, _encoding, done) {
      text += String(chunk);
      done();
    },
  });
  const console = new Console(stream, stream);
  console.log(...values);
  console.dir(values, { showHidden: true, depth: null });
  console.table(values);
  console.error(new Error(`failed with ${values.map(String).join()}`, { cause: values }));
  return text;
}

describe("a secret", () => {
  it("is opened by reveal and by nothing else", () => {
    expect(secret.reveal()).toBe(CANARY);
    const bytes = new Secret(Uint8Array.of(1, 2));
    expect(bytes.reveal()).toEqual(Uint8Array.of(1, 2));
  });

  it("prints as [secret] in every way that turns it into text", () => {
    const texts = [
      ...[`${secret}`, String(secret), secret.toString(), secret.toLocaleString(), `a${secret as unknown as string}`],
      ...[["a", secret].join("").slice(1), JSON.parse(JSON.stringify(secret)), secret.toJSON()],
      ...[
        inspect(secret),
        inspect(secret, { showHidden: true }),
        format("%s", secret),
        format("%o", secret),
        format("%O", secret),
      ],
    ];
    for (const text of texts) expect(text.replace(/^a/, "")).toBe("[secret]");
    expect(JSON.stringify({ token: secret, list: [secret] })).toBe('{"token":"[secret]","list":["[secret]"]}');
    expect(format("%j", { token: secret })).toBe('{"token":"[secret]"}');
    expect(Number.isNaN(Number(secret))).toBe(true);
  });

  it("shows nothing when it is printed against its own wishes, at any depth", () => {
    for (const options of [
      { customInspect: false },
      { customInspect: false, showHidden: true, getters: true },
      { showProxy: true },
    ])
      for (const value of [
        secret,
        { a: { b: { c: { d: secret } } } },
        [secret],
        new Map([[secret, secret]]),
        new Proxy(secret, {}),
      ])
        expect(inspect(value, { depth: null, ...options })).not.toContain(CANARY);
  });

  it("shows nothing in a log, a table or an error", () => {
    expect(logged(secret, { secret }, [secret])).not.toContain(CANARY);
    expect(inspect(new Error(`no ${secret}`, { cause: { secret } }), { depth: null })).not.toContain(CANARY);
    expect(new Error(secret as unknown as string).message).toBe("[secret]");
    expect(() => (secret as unknown as { missing(): void }).missing()).toThrow(
      expect.objectContaining({ message: expect.not.stringContaining(CANARY) }),
    );
  });

  it("has no fields that could be listed, spread, assigned or walked through", () => {
    expect(Object.keys(secret)).toEqual([]);
    expect(Reflect.ownKeys(secret)).toEqual([]);
    expect({ ...secret }).toEqual({});
    expect(Object.assign({}, secret)).toEqual({});
    expect(JSON.stringify(Object.entries(secret))).toBe("[]");
    const walked: string[] = [];
    for (const key in secret) walked.push(key);
    expect(walked).toEqual([]);
  });

  it("loses its value, rather than carry it along, when it is cloned or sent to a worker", () => {
    const clone = structuredClone({ secret });
    expect(Object.keys(clone.secret)).toEqual([]);
    expect(clone.secret).not.toBeInstanceOf(Secret);
    expect("reveal" in clone.secret).toBe(false);
    const bytes = serialize({ secret });
    expect(bytes.includes(CANARY)).toBe(false);
    expect(Object.keys(deserialize(bytes).secret)).toEqual([]);
  });

  it("cannot be changed, nor be opened by something that only looks like one", () => {
    expect(() => Object.assign(secret, { note: "x" })).toThrow(TypeError);
    expect(() => Secret.prototype.reveal.call({} as Secret<string>)).toThrow(TypeError);
    expect(() => new Proxy(secret, {}).reveal()).toThrow(TypeError);
  });
});
