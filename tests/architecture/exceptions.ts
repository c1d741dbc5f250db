import type { Exceptions } from "./check.ts";

/** What the rules let through, each with its reason. A reason that is no longer needed is itself a violation. */
export const exceptions: Exceptions = {
  layout: {
    longFiles: {
      "packages/core/src/index.ts": "every public name of core, one by one",
      "packages/core/src/contexts/identity/contract.ts": "all that other contexts may know of identity, on one page",
      "packages/core/src/contexts/connectors/contract.ts":
        "all that other contexts may know of connectors, on one page",
      "packages/core/src/contexts/connectors/context.ts":
        "the handlers of every operation of one context, in its order",
      "packages/core/src/contexts/agents/contract.ts": "all that other contexts may know of agents, on one page",
      "packages/core/src/runtime/executions/execution-run.ts":
        "one execution while a worker holds it: what has happened, what is written of it and what is begun, and when",
      "packages/core/src/runtime/executions/execution-worker.ts":
        "one loop over executions: what is taken, held, written and let go of, and when",
      "packages/core/src/runtime/pipeline.ts": "the one way of every call: its steps are read together or not at all",
      "packages/core/src/runtime/relay.ts": "one loop over an outbox: what is read, worked on and settled, and when",
      "examples/demo/demo.ts": "a story told from top to bottom, as its reader watches it",
    },
    domainNames: {
      "packages/core/src/contexts/identity/service-account.ts": "a service account is identity's word for a machine",
    },
  },
  conformance: {
    ports: {
      AuthorizationSigner: "only the composition root implements it, with keys that never leave it; no host does",
    },
    implementations: {
      "HttpClient ProviderSimulator":
        "it has no network: the suite asks what real servers on loopback see; its own tests ask the rest",
    },
  },
};

export const noExceptions: Exceptions = {
  layout: { longFiles: {}, domainNames: {} },
  conformance: { ports: {}, implementations: {} },
};
