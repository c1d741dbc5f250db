import { createHash } from "node:crypto";
import { type ArmatureError, type ErrorKind, InvalidInput } from "@armature/core";
import type { Exchange, HandlerResponse, HttpApp } from "./http-exchange.ts";
import { statusOf } from "./problem.ts";

/**
 * Where providers send the browser back to. The tenant comes from the signed state and nothing else. A person looks at
 * the answer, so it is a page, or the way on to the host's own.
 */
export async function oauthCallback(app: HttpApp, query: string): Promise<HandlerResponse> {
  const parameters = new URLSearchParams(query);
  // RFC 6749: no parameter may be there twice. Which of two was meant is not ours to guess.
  for (const name of parameters.keys())
    if (parameters.getAll(name).length > 1)
      throw new InvalidInput({
        subject: "The authorization's answer",
        issues: [{ path: "", message: "holds a parameter more than once" }],
      });
  const { returnTo } = await app.oauthCallback(parameters);
  if (returnTo === undefined) return page(200, "Connected", "The connection is made. You can close this window.");
  return { status: 303, headers: { ...pageHeaders, "content-length": "0", location: returnTo } };
}

/** The page for a person whose authorization did not work out. */
export function refusalPage(error: ArmatureError, exchange: Exchange): HandlerResponse {
  return page(statusOf(error), "Not connected", sentenceOf(error), exchange.requestId);
}

// An error's own sentence may repeat what stood in the address, and whoever made the address chose that.
const sentences: Readonly<Record<string, string>> = {
  "connector.authorization_invalid":
    "This authorization is unknown, has expired, or was used before. Please start again.",
  "connector.authorization_refused": "The access was not granted.",
  "connector.already_connected": "It is connected already.",
  invalid_input: "The address is not one that an authorization ends at. Please start again.",
};

const sentencesOfKind: Readonly<Partial<Record<ErrorKind, string>>> = {
  unavailable: "The other system gave no answer that can be used. Please try again later.",
  timeout: "The other system did not answer in time. Please try again later.",
  exhausted: "The other system takes no more requests for now. Please try again later.",
  internal: "Something went wrong on our side. Please try again later.",
};

function sentenceOf({ code, kind }: ArmatureError): string {
  return sentences[code] ?? sentencesOfKind[kind] ?? "The other system did not accept it. Please start again.";
}

const style =
  "body{font:16px/1.5 system-ui,sans-serif;max-width:32rem;margin:20vh auto 0;padding:0 1.5rem;color:#1b1f24;" +
  "background:#fff}h1{font-size:1.5rem}small{color:#656d76}" +
  "@media(prefers-color-scheme:dark){body{color:#e6edf3;background:#0d1117}}";
const styleHash = createHash("sha256").update(style).digest("base64");

const pageHeaders = {
  "cache-control": "no-store",
  "x-content-type-options": "nosniff",
  // The address holds a code and a state; they go nowhere from here.
  "referrer-policy": "no-referrer",
  "content-security-policy": `default-src 'none'; style-src 'sha256-${styleHash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
} as const;

function page(status: number, title: string, sentence: string, reference?: string): HandlerResponse {
  const note = reference === undefined ? "" : `<p><small>Reference: ${escapeHtml(reference)}</small></p>`;
  const html = `<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${escapeHtml(title)}</title><style>${style}</style></head><body><h1>${escapeHtml(title)}</h1><p>${escapeHtml(sentence)}</p>${note}</body></html>`;
  const body = Buffer.from(html);
  return {
    status,
    headers: {
      ...pageHeaders,
      "content-type": "text/html; charset=utf-8",
      "content-length": String(body.byteLength),
    },
    body,
  };
}

function escapeHtml(text: string): string {
  return text.replaceAll(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
