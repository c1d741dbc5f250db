import { InvalidInput } from "@armature/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { folderOf, fromSegment, pathOf, toSegment } from "./secret-path.ts";

const anyText = fc.string({ unit: "binary", maxLength: 60 });
const anyName = anyText.filter((text) => text !== "" && !text.includes("\0"));

describe("a name as a path in Vault", () => {
  it("keeps what every path may hold, and is read by people", () => {
    expect(pathOf("acme", "connectors/con_01k8/crd_2")).toBe("acme/connectors/con_01k8/crd_2");
    expect(pathOf("acme", "tenant/smtp.password-2")).toBe("acme/tenant/smtp.password-2");
  });

  it.each([
    ["..", "=2E=2E"],
    [".", "=2E"],
    ["...", "=2E=2E=2E"],
    ["a..b", "a.=2Eb"],
    [".hidden", "=2Ehidden"],
    ["", "="],
    ["a b", "a=20b"],
    ["100%", "100=25"],
    ["=", "=3D"],
    ["=2E", "=3D2E"],
    ["Zoë", "Zo=C3=AB"],
    ["🗝", "=F0=9F=97=9D"],
    ["a\\b", "a=5Cb"],
    ["a?b#c", "a=3Fb=23c"],
    ["*+", "=2A=2B"],
    ["\n", "=0A"],
  ])("%j becomes the segment %s", (text, segment) => {
    expect(toSegment(text)).toBe(segment);
    expect(fromSegment(segment)).toBe(text);
  });

  it("never leaves its tenant's folder, whatever the name and the tenant are", () => {
    expect(pathOf("acme", "../globex/key")).toBe("acme/=2E=2E/globex/key");
    expect(pathOf("../globex", "key")).toBe("=2E=2E=2Fglobex/key");
    expect(pathOf("acme/x", "key")).not.toBe(pathOf("acme", "x/key"));
    fc.assert(
      fc.property(anyText, anyName, (tenant, name) => {
        const [first, ...rest] = pathOf(tenant, name).split("/");
        expect(first).toBe(toSegment(tenant));
        expect(rest.length).toBeGreaterThan(0);
        for (const segment of [first!, ...rest]) {
          expect(segment).toMatch(/^[A-Za-z0-9._=-]+$/);
          expect(segment).not.toMatch(/^\.|\.\./);
        }
        const url = new URL(`https://vault.example/v1/secret/data/armature/${pathOf(tenant, name)}`);
        expect(url.pathname).toBe(`/v1/secret/data/armature/${pathOf(tenant, name)}`);
      }),
    );
  });

  it("tells every two names apart, and gives each back", () => {
    fc.assert(
      fc.property(anyName, anyName, (one, other) => {
        const [path, otherPath] = [pathOf("t", one), pathOf("t", other)];
        expect(path === otherPath).toBe(one === other);
        expect(path.split("/").slice(1).map(fromSegment).join("/")).toBe(one);
      }),
    );
  });

  it.each(["a b", "=2", "=2e", "=41", "=FF", "..", "", ".x", "ä", "=ZZ", "==", "a="])(
    "leaves %j alone, which somebody else has named",
    (segment) => {
      expect(fromSegment(segment)).toBeUndefined();
    },
  );

  it.each(["", "a\0b", "\ud800", "x".repeat(501)])("cannot be %j", (name) => {
    expect(() => pathOf("acme", name)).toThrow(InvalidInput);
  });

  it("has the folders that its slashes make", () => {
    expect(folderOf("acme", "")).toBe("acme");
    expect(folderOf("acme", "connectors/con 1/")).toBe("acme/connectors/con=201");
    expect(folderOf("acme", "a//")).toBe("acme/a/=");
  });
});
