import { z } from "zod";
import { AuthorizationInvalid, type Connectors, connectors } from "../contexts/connectors/contract.ts";
import type { AuthorizationSigner } from "../contexts/connectors/ports.ts";
import type { ApiKeyAuthenticator } from "../contexts/identity/authenticator.ts";
import type { ContextDefinition } from "../kernel/context.ts";
import type { OwnClient } from "../kernel/contract.ts";
import { DeadlineExceeded } from "../kernel/errors.ts";
import { parse } from "../kernel/parse.ts";
import { type Principal, toPrincipal } from "../kernel/principal.ts";
import type { Armature, ArmatureOptions, CallbackResult, OperationDescription } from "./armature.ts";
import { clientOf } from "./client.ts";
import type { Pipeline } from "./pipeline.ts";
import { Relay } from "./relay.ts";
import type { RuntimePorts } from "./runtime-ports.ts";

interface Parts {
  readonly options: ArmatureOptions;
  readonly ports: RuntimePorts;
  readonly pipeline: Pipeline;
  readonly contexts: readonly ContextDefinition[];
  readonly authenticator: ApiKeyAuthenticator;
  readonly signer: AuthorizationSigner;
}

const callbackParameters = z.object({
  state: z.string().min(1).max(4000),
  code: z.string().max(4000).optional(),
  iss: z.string().max(500).optional(),
  error: z.string().max(200).optional(),
});

/** Starts the relays and gives the object that a host works with. */
export async function runningArmature(parts: Parts): Promise<Armature> {
  const { options, ports, pipeline, contexts } = parts;
  const { store, clock } = ports;
  const migrate = () =>
    store.migrate(
      contexts.map(({ contract, aggregates }) => ({
        name: contract.name,
        aggregates: aggregates.map(({ definition }) => ({ type: definition.type, index: definition.index })),
      })),
    );
  if (store.embedded) await migrate();

  const relayOptions = options.relay ?? {};
  const relays =
    relayOptions === false
      ? []
      : contexts.map(({ contract }) => new Relay(contract.name, ports, pipeline, contexts, relayOptions));
  const nudge = new Map(contexts.map(({ contract }, index) => [contract.name, relays[index]]));
  ports.lifecycle.on("committed", ({ contexts: names }) => {
    for (const name of names) nudge.get(name)?.nudge();
  });
  for (const relay of relays) relay.start();

  const operations: readonly OperationDescription[] = contexts.flatMap(({ contract }) =>
    Object.entries(contract.operations)
      .filter(([, operation]) => operation.permission !== "internal")
      .map(([name, operation]) => ({ id: `${contract.name}.${name}`, context: contract.name, operation })),
  );

  const clients = (principal: Principal) => {
    const all: Record<string, unknown> = {};
    for (const { contract } of contexts) {
      let client: unknown;
      Object.defineProperty(all, contract.name, {
        enumerable: true,
        get: () => {
          client ??= clientOf(pipeline, contract, { principal });
          return client;
        },
      });
    }
    return all;
  };

  const underWay = new Set<Promise<unknown>>();
  const track = <T>(work: Promise<T>): Promise<T> => {
    const settled = work.then(
      () => undefined,
      () => undefined,
    );
    underWay.add(settled);
    void settled.then(() => underWay.delete(settled));
    return work;
  };

  let closing: Promise<void> | undefined;
  const close = async () => {
    await Promise.all(relays.map((relay) => relay.stop()));
    await Promise.all(underWay);
    await ports.bus.close();
    await closeHttp(ports);
    await store.close();
  };

  const app: Armature = {
    as: (principal) => clients(toPrincipal(principal)) as never,
    call: (id, input, request) =>
      track(pipeline.call(id, input, { ...request, principal: toPrincipal(request.principal) })),
    stream: (id, input, request) =>
      pipeline.stream(id, input, { ...request, principal: toPrincipal(request.principal) }),
    operations,
    authenticate: (apiKey) => parts.authenticator.authenticate(apiKey),
    oauthCallback: (parameters) => track(oauthCallback(parts, parameters)),
    migrate,
    async ready() {
      await Promise.all([store.ping(), ports.bus.ping(), ports.secrets.ping()]);
    },
    on(type, listener) {
      ports.lifecycle.on(type, listener);
      return () => ports.lifecycle.off(type, listener);
    },
    async settled({ timeoutMs = 30_000 } = {}) {
      const giveUpAt = clock.now() + timeoutMs;
      for (;;) {
        const progress = await Promise.all(relays.map((relay) => relay.look()));
        if (!progress.includes(true)) return;
        if (clock.now() > giveUpAt) throw new DeadlineExceeded({ operation: "settled" });
      }
    },
    close() {
      closing ??= close();
      return closing;
    },
    [Symbol.asyncDispose]: () => app.close(),
  };
  return app;
}

async function oauthCallback({ pipeline, signer }: Parts, query: URLSearchParams): Promise<CallbackResult> {
  const { state, ...answer } = parse(callbackParameters, Object.fromEntries(query), "The authorization's answer");
  const claims = await signer.verify(state);
  if (claims === undefined) throw new AuthorizationInvalid({});
  const principal: Principal = {
    tenant: claims.tenant,
    actor: { type: "system", id: "connectors.oauth-callback" },
    ...(claims.startedBy === null ? {} : { onBehalfOf: claims.startedBy }),
  };
  const own = clientOf(pipeline, connectors, { principal, from: connectors.name }) as unknown as OwnClient<Connectors>;
  const { connector, returnTo } = await own.finishAuthorization({
    connectorId: claims.connectorId as `con_${string}`,
    nonce: claims.nonce,
    ...answer,
  });
  return returnTo === undefined ? { connectorId: connector.id } : { connectorId: connector.id, returnTo };
}

// The default client keeps connections; one that a host brought is the host's to close.
async function closeHttp({ http }: RuntimePorts): Promise<void> {
  if ("close" in http && typeof http.close === "function") await http.close();
}
