import type { Emitter } from "mitt";
import type { AgentsOptions } from "../contexts/agents/context.ts";
import { ModelClient } from "../contexts/agents/model-client.ts";
import { maxCost } from "../contexts/agents/model-prices.ts";
import { RunFeed, type RunSignals } from "../contexts/agents/run-feed.ts";
import type { ArmatureOptions } from "./armature.ts";
import { modelSpans } from "./model-spans.ts";
import type { RuntimePorts } from "./runtime-ports.ts";

/** The host's agents and the models that they ask, what those cost, and what followers of runs hear. */
export function agentPorts(
  { agents = [], agentRouter, tenantAgents, models = {}, prices }: ArmatureOptions,
  { clock, ids, lifecycle }: Pick<RuntimePorts, "clock" | "ids" | "lifecycle">,
  signals: Emitter<RunSignals>,
): AgentsOptions {
  const feed = new RunFeed(signals);
  lifecycle.on("committed", ({ tenant, aggregates = [] }) => feed.changed(tenant, aggregates));
  const random = () => new DataView(ids.random(4).slice().buffer).getUint32(0) / 2 ** 32;
  return {
    ...{ definitions: agents, router: agentRouter, tenantAgents, feed },
    model: new ModelClient({ models, prices, clock, random, around: modelSpans() }),
    priceOf: (names, tokens) => {
      const costs = names.map((name) =>
        models[name] === undefined ? undefined : maxCost(prices, models[name], tokens),
      );
      let dearest = 0;
      for (const cost of costs) {
        if (cost?.known !== true) return undefined;
        dearest = Math.max(dearest, cost.nanos);
      }
      return dearest;
    },
  };
}
