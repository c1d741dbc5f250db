/** What the protocol's own suite asks for and is not offered here: names of its scenarios, or `scenario:check`. */
export interface NotOffered {
  readonly what: string;
  readonly why: string;
  readonly scenarios: readonly string[];
}

const inputRequired = (name: string) => `input-required-result-${name}`;

const auth = (name: string) => `auth/${name}`;

export const notOfferedByServer: readonly NotOffered[] = [
  {
    what: "Resources",
    why: "an operation is a tool; there is nothing to read by an address",
    scenarios: [
      ...["resources-list", "resources-read-text", "resources-read-binary", "resources-templates-read"],
      "sep-2164-resource-not-found",
      ...["caching:sep-2549-resources-list-caching-hints", "caching:sep-2549-resources-templates-list-caching-hints"],
    ],
  },
  {
    what: "Prompts and completion",
    why: "what a model is told is the client's affair",
    scenarios: [
      ...["prompts-list", "prompts-get-simple", "prompts-get-with-args", "prompts-get-embedded-resource"],
      ...["prompts-get-with-image", "completion-complete", "caching:sep-2549-prompts-list-caching-hints"],
    ],
  },
  {
    what: "Results that are not JSON",
    why: "operations answer with JSON, so tools do",
    scenarios: ["tools-call-image", "tools-call-audio", "tools-call-embedded-resource", "tools-call-mixed-content"],
  },
  {
    what: "Questions to the client",
    why: "an operation is called with all that it needs",
    scenarios: [
      ...["basic-elicitation", "basic-sampling", "basic-list-roots", "request-state", "multiple-input-requests"].map(
        inputRequired,
      ),
      ...["multi-round", "non-tool-request", "result-type", "tampered-state", "capability-check"].map(inputRequired),
      ...["missing-input-response", "ignore-extra-params"].map(inputRequired),
      "server-stateless:sep-2575-server-rejects-undeclared-capability",
      "server-stateless:sep-2575-missing-capability-http-400",
      "server-stateless:sep-2575-http-server-no-independent-requests-on-stream",
    ],
  },
  {
    what: "Progress, logs and subscriptions",
    why: "tools change with a deployment, and say nothing before their result",
    scenarios: [
      "tools-call-with-progress",
      "server-stateless:sep-2575-server-no-log-without-loglevel",
      "server-stateless:sep-2575-server-sends-subscription-ack",
      "server-stateless:sep-2575-server-tags-subscription-id",
    ],
  },
];

export const notOfferedByClient: readonly NotOffered[] = [
  {
    what: "Answers to a server's questions",
    why: "nobody is there to be asked; the call fails with `mcp.input_required`",
    scenarios: ["sep-2322-client-request-state", "elicitation-sep1034-client-defaults"],
  },
  {
    what: "Streams of what nobody has asked for",
    why: "an answer comes with its request, and is read as a whole",
    scenarios: ["sse-retry"],
  },
  {
    what: "OAuth",
    why: "the host gives the headers for each caller, and gets the tokens its own way",
    scenarios: [
      ...["metadata-default", "metadata-var1", "metadata-var2", "metadata-var3", "metadata-issuer-mismatch"].map(auth),
      ...[
        "basic-cimd",
        "scope-from-www-authenticate",
        "scope-from-scopes-supported",
        "scope-omitted-when-undefined",
      ].map(auth),
      ...["scope-step-up", "scope-retry-limit", "pre-registration", "resource-mismatch"].map(auth),
      ...["token-endpoint-auth-basic", "token-endpoint-auth-post", "token-endpoint-auth-none"].map(auth),
      ...["2025-03-26-oauth-metadata-backcompat", "2025-03-26-oauth-endpoint-fallback"].map(auth),
      ...["offline-access-scope", "offline-access-not-supported", "authorization-server-migration"].map(auth),
      ...["iss-supported", "iss-not-advertised", "iss-supported-missing", "iss-wrong-issuer"].map(auth),
      ...["iss-unexpected", "iss-normalized"].map(auth),
      ...["client-credentials-jwt", "client-credentials-basic", "enterprise-managed-authorization"].map(auth),
      ...["dpop", "dpop-nonce", "wif-jwt-bearer"].map(auth),
    ],
  },
];

export const scenariosOf = (groups: readonly NotOffered[]) => groups.flatMap(({ scenarios }) => scenarios);
