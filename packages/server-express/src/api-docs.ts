import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { apiHeaders, type HandlerResponse } from "./http-exchange.ts";

const TEXT = { html: "text/html", css: "text/css", js: "text/javascript" };

// Everything is relative to the page, so that it works wherever the API is mounted and whatever stands before it.
const page = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
`;

// Its validator is somebody else's server, and would be sent the address of the document.
const start = `SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  validatorUrl: null,
  defaultModelsExpandDepth: 0,
});
`;

/**
 * The page that shows the OpenAPI document, and what it loads: Swagger UI, from the package that is installed beside
 * this one and from nowhere else.
 *
 * @param apiOrigin where the document says that the API is, when that may be another origin than the page's
 * @returns by path, what answers it
 */
export function apiDocs(apiOrigin: string | undefined): ReadonlyMap<string, () => Promise<HandlerResponse>> {
  const connect = ["'self'", ...(apiOrigin === undefined ? [] : [apiOrigin])].join(" ");
  const policy = [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' data:",
    `connect-src ${connect}`,
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join("; ");
  return new Map([
    ["/docs", async () => text("html", page, { "content-security-policy": policy })],
    ["/docs/start.js", async () => text("js", start)],
    ["/docs/swagger-ui.css", () => asset("swagger-ui.css", "css")],
    ["/docs/swagger-ui-bundle.js", () => asset("swagger-ui-bundle.js", "js")],
  ]);
}

/** Files that were looked at: one and a half megabytes are not read for each who asks. */
const assets = new Map<string, Promise<Uint8Array>>();

async function asset(name: string, type: keyof typeof TEXT): Promise<HandlerResponse> {
  let body = assets.get(name);
  if (body === undefined) {
    // Found when somebody looks at the page: who never does, loads nothing of it.
    const folder = dirname(createRequire(import.meta.url).resolve("swagger-ui-dist/package.json"));
    body = readFile(join(folder, name));
    assets.set(name, body);
    body.catch(() => assets.delete(name));
  }
  return answer(type, await body, { "cache-control": "public, max-age=3600" });
}

function text(
  type: keyof typeof TEXT,
  content: string,
  headers: Readonly<Record<string, string>> = {},
): HandlerResponse {
  return answer(type, Buffer.from(content), headers);
}

function answer(type: keyof typeof TEXT, body: Uint8Array, headers: Readonly<Record<string, string>>): HandlerResponse {
  return {
    status: 200,
    compressible: true,
    headers: {
      ...apiHeaders,
      "content-type": `${TEXT[type]}; charset=utf-8`,
      "content-length": String(body.byteLength),
      ...headers,
    },
    body,
  };
}
