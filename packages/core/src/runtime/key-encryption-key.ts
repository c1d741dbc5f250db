import { InvalidInput } from "../kernel/errors.ts";
import type { Ids } from "../kernel/ids.ts";
import { Secret } from "../kernel/secret.ts";
import type { ArmatureOptions } from "./armature.ts";

/**
 * The key that seals what the store keeps; a passing one where nothing outlives the process.
 *
 * @throws {InvalidInput} it is missing
 */
export function keyEncryptionKeyOf({ keyEncryptionKey, store, secrets }: ArmatureOptions, ids: Ids): Secret<string> {
  if (keyEncryptionKey instanceof Secret) return keyEncryptionKey;
  if (keyEncryptionKey !== undefined) return new Secret(keyEncryptionKey);
  if (store.lasting) {
    const why =
      secrets === undefined ? "it seals the secrets that are kept in the store" : "it signs OAuth authorizations";
    throw new InvalidInput({
      subject: "What createArmature was given",
      issues: [
        {
          path: "keyEncryptionKey",
          message: `is needed (${why}): 32 random bytes in base64, as \`openssl rand -base64 32\` makes them`,
        },
      ],
    });
  }
  return new Secret(Buffer.from(ids.random(32)).toString("base64"));
}
