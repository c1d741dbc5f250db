import { inMemory } from "@armature/core/in-memory";
import { storeSuite } from "./index.ts";

storeSuite("in-memory", () => inMemory());
