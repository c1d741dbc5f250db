import * as oauth from "oauth4webapi";
import { walkAuthorization } from "./browser.ts";

export const redirectUri = "http://127.0.0.1:9/callback";
export const client: oauth.Client = { client_id: "armature-sandbox" };
const clientSecret = "sandbox-client-secret";
const insecure = { [oauth.allowInsecureRequests]: true } as const;

/** An OAuth client that is not ours (oauth4webapi), so that the server is not tested only against its own author. */
export class TestClient {
  readonly #issuer: oauth.AuthorizationServer;
  readonly #authentication: oauth.ClientAuth;

  private constructor(issuer: oauth.AuthorizationServer, authentication: oauth.ClientAuth) {
    this.#issuer = issuer;
    this.#authentication = authentication;
  }

  static async for(server: { readonly origin: string }, method: "basic" | "post" = "basic"): Promise<TestClient> {
    const issuer = new URL(server.origin);
    const discovered = await oauth.discoveryRequest(issuer, insecure);
    const authenticate = method === "basic" ? oauth.ClientSecretBasic : oauth.ClientSecretPost;
    return new TestClient(await oauth.processDiscoveryResponse(issuer, discovered), authenticate(clientSecret));
  }

  /** The whole authorization code flow, the user's part walked as a browser would. */
  async authorize(
    options: { readonly account?: string; readonly press?: string; readonly scope?: string } = {},
  ): Promise<oauth.TokenEndpointResponse> {
    const verifier = oauth.generateRandomCodeVerifier();
    const state = oauth.generateRandomState();
    const url = this.authorizationUrl({
      state,
      code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
      code_challenge_method: "S256",
      ...(options.scope && { scope: options.scope }),
    });
    const callback = await walkAuthorization(url, {
      stopAt: redirectUri,
      fill: { account: options.account ?? "ann" },
      ...(options.press && { press: options.press }),
    });
    const parameters = oauth.validateAuthResponse(this.#issuer, client, callback, state);
    const response = await oauth.authorizationCodeGrantRequest(
      this.#issuer,
      client,
      this.#authentication,
      parameters,
      redirectUri,
      verifier,
      insecure,
    );
    return oauth.processAuthorizationCodeResponse(this.#issuer, client, response);
  }

  authorizationUrl(parameters: Readonly<Record<string, string>>): URL {
    const url = new URL(this.#issuer.authorization_endpoint!);
    const all = {
      client_id: client.client_id,
      redirect_uri: redirectUri,
      response_type: "code",
      scope: "offline_access contacts.read contacts.write",
      prompt: "consent",
      ...parameters,
    };
    for (const [name, value] of Object.entries(all)) url.searchParams.set(name, value);
    return url;
  }

  async refresh(refreshToken: string): Promise<oauth.TokenEndpointResponse> {
    const response = await oauth.refreshTokenGrantRequest(
      this.#issuer,
      client,
      this.#authentication,
      refreshToken,
      insecure,
    );
    return oauth.processRefreshTokenResponse(this.#issuer, client, response);
  }
}
