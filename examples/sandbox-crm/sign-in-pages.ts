import type { IncomingMessage, ServerResponse } from "node:http";
import type Provider from "oidc-provider";
import { errors } from "oidc-provider";
import { z } from "zod";
import { parse, Refusal, readText } from "./loopback-server.ts";

const signInSchema = z.object({ account: z.string().regex(/^[a-z][a-z0-9-]{0,39}$/), password: z.string().min(1) });
const consentSchema = z.object({ decision: z.enum(["allow", "deny"]) });

/**
 * The two pages on which a user signs in and gives consent: plain forms, no script. A sandbox has no passwords to
 * check: every account name exists and every password is right.
 */
export async function serveSignInPages(provider: Provider, request: IncomingMessage, response: ServerResponse) {
  const { prompt, params, session, grantId } = await provider.interactionDetails(request, response).catch(asRefusal);
  if (request.method === "GET") {
    const client = escapeHtml(String(params.client_id));
    if (prompt.name === "login") return sendPage(response, `Sign in for ${client}`, signInForm);
    return sendPage(response, `Let ${client} use your contacts?`, consentForm(String(params.scope ?? "")));
  }
  if (request.method !== "POST")
    throw new Refusal(405, "method_not_allowed", "Use GET or POST.", { allow: "GET, POST" });

  const form = Object.fromEntries(new URLSearchParams(await readText(request)));
  if (prompt.name === "login") {
    const { account } = parse(signInSchema, form);
    return provider.interactionFinished(request, response, { login: { accountId: account } });
  }
  if (parse(consentSchema, form).decision === "deny") {
    const denied = { error: "access_denied", error_description: "The user did not give consent." };
    return provider.interactionFinished(request, response, denied, { mergeWithLastSubmission: false });
  }
  const grant =
    (grantId === undefined ? undefined : await provider.Grant.find(grantId)) ??
    new provider.Grant({ accountId: session?.accountId ?? "", clientId: String(params.client_id) });
  const missing = missingSchema.parse(prompt.details);
  if (missing.missingOIDCScope !== undefined) grant.addOIDCScope(missing.missingOIDCScope.join(" "));
  for (const [resource, scopes] of Object.entries(missing.missingResourceScopes ?? {})) {
    grant.addResourceScope(resource, scopes.join(" "));
  }
  return provider.interactionFinished(request, response, { consent: { grantId: await grant.save() } });
}

const missingSchema = z.object({
  missingOIDCScope: z.array(z.string()).optional(),
  missingResourceScopes: z.record(z.string(), z.array(z.string())).optional(),
});

function asRefusal(error: unknown): never {
  if (error instanceof errors.SessionNotFound) {
    throw new Refusal(400, "no_sign_in", "This sign-in is not under way in this browser, or it is over.");
  }
  throw error;
}

const signInForm = `
    <form method="post">
      <label>Account <input name="account" value="ann" required pattern="[a-z][a-z0-9\\-]*"></label>
      <label>Password <input name="password" type="password" value="sandbox" required></label>
      <button>Sign in</button>
    </form>`;

const consentForm = (scope: string) => `
    <ul>${scope
      .split(" ")
      .map((each) => `<li>${escapeHtml(each)}</li>`)
      .join("")}</ul>
    <form method="post">
      <button name="decision" value="allow">Allow</button>
      <button name="decision" value="deny">Deny</button>
    </form>`;

/** What a user sees whose application made a mistake that cannot be told to it by a redirect. */
export function errorPage(error: string, description = ""): string {
  return page("This sign-in cannot go on", `\n    <p>${escapeHtml(`${error}: ${description}`)}</p>`);
}

function sendPage(response: ServerResponse, title: string, body: string): void {
  response.writeHead(200, {
    "content-type": "text/html; charset=utf-8",
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
  });
  response.end(page(title, body));
}

/** `title` and `body` are HTML. */
function page(title: string, body: string): string {
  return `<!doctype html>
<html lang="en">
  <head><meta charset="utf-8"><title>${title}</title></head>
  <body>
    <h1>${title}</h1>${body}
  </body>
</html>
`;
}

const entities: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => entities[character]!);
}
