// Counts the modules that an import loads and the bytes of their sources: `node import-cost.mjs @armature/core`. The
// numbers depend on versions only, and never on the machine.
import { registerHooks } from "node:module";

const loaded = new Map();
registerHooks({
  load(url, context, next) {
    const result = next(url, context);
    if (!url.startsWith("node:")) loaded.set(url, Buffer.byteLength(result.source ?? ""));
    return result;
  },
});

const entry = process.argv[2];
const before = loaded.size;
await import(entry);
const bytes = [...loaded.values()].slice(before).reduce((sum, each) => sum + each, 0);
console.log(JSON.stringify({ modules: loaded.size - before, bytes }));
