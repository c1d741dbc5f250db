import { SealedSecretStore, Secret, systemClock, systemIds } from "@armature/core";
import { InMemoryStore } from "@armature/core/in-memory";
import { secretStoreSuite } from "./secret-store-suite.ts";

secretStoreSuite("sealed in the store", async () => {
  const store = new InMemoryStore();
  await store.migrate([{ name: "secrets", aggregates: [] }]);
  const ids = systemIds(systemClock());
  const keyEncryptionKey = new Secret(Buffer.from(ids.random(32)).toString("base64"));
  const instance = () => new SealedSecretStore({ store, keyEncryptionKey, ids });
  return { secrets: instance(), elsewhere: instance() };
});
