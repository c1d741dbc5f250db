import { Secret } from "@armature/core";
import { authAnswer, lookupAnswer } from "./answers.ts";
import { VaultLoginRefused, VaultMountUnusable } from "./errors.ts";
import { understood, type VaultApi } from "./vault-api.ts";
import { sessionOf, type VaultSession } from "./vault-session.ts";

/** A way to a session. */
export interface VaultLogin {
  /** @throws {VaultLoginRefused} Vault gives no token */
  open(): Promise<VaultSession>;
  /** Whether each login gives a token that is new. */
  readonly givesNewTokens: boolean;
}

/** Works with a token that somebody else has made. All that can be learnt is how long it lives. */
export function tokenLogin(api: VaultApi, token: Secret<string>): VaultLogin {
  return {
    givesNewTokens: false,
    async open() {
      const since = api.clock.now();
      const answer = await api.repeat({ method: "GET", path: "auth/token/lookup-self" }, token);
      if (answer.status === 200) {
        const { ttl, renewable = false } = understood(lookupAnswer, answer, "a question about its token").data;
        return sessionOf(token, { ttlMs: ttl * 1000, renewable, since });
      }
      if (answer.status === 404) throw new VaultMountUnusable({ reason: "the namespace does not exist" });
      // A bad token, or one whose policies do not let it ask. The next request tells which.
      return sessionOf(token, { ttlMs: 0, renewable: false, since });
    },
  };
}

/** Logs in as a role. A login is not repeated when its answer is lost: the secret id may be good for one use only. */
export function appRoleLogin(
  api: VaultApi,
  { roleId, secretId, mount }: { readonly roleId: Secret<string>; readonly secretId: Secret<string>; mount: string },
): VaultLogin {
  return {
    givesNewTokens: true,
    async open() {
      const since = api.clock.now();
      const body = { role_id: roleId.reveal(), secret_id: secretId.reveal() };
      const answer = await api.send({ method: "POST", path: `auth/${mount}/login`, body });
      if (answer.status !== 200)
        throw new VaultLoginRefused({ reason: REASONS[answer.status] ?? `status ${answer.status}` });
      const { client_token, lease_duration, renewable } = understood(authAnswer, answer, "the login").auth;
      return sessionOf(new Secret(client_token), { ttlMs: lease_duration * 1000, renewable, since });
    },
  };
}

const REASONS: Readonly<Record<number, string>> = {
  400: "the role id or the secret id is not valid, or no longer",
  403: "this role may not log in from here, or there is no AppRole authentication at the mount",
  404: "there is no AppRole authentication at the mount, or no such namespace",
};
