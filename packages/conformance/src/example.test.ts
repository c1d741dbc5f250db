import { leaseSuite, storeSuite } from "@armature/conformance";
import { inMemory } from "@armature/core/in-memory"; // in your package: your adapter

storeSuite("in-memory", () => inMemory());

leaseSuite("in-memory", () => ({ lease: inMemory().lease }));
