import type { AgentsOptions } from "../contexts/agents/context.ts";
import { ModelClient } from "../contexts/agents/model-client.ts";
import { maxCost } from "../contexts/agents/model-prices.ts";
import type { ArmatureOptions } from "./armature.ts";
import { modelSpans } from "./model-spans.ts";
import type { RuntimePorts } from "./runtime-ports.ts";

/** The host's models as agents ask them, and what they cost. */
export function agentModels(
  { models = {}, prices }: Pick<ArmatureOptions, "models" | "prices">,
  { clock, ids }: Pick<RuntimePorts, "clock" | "ids">,
): Pick<AgentsOptions, "model" | "priceOf"> {
  const random = () => new DataView(ids.random(4).slice().buffer).getUint32(0) / 2 ** 32;
  return {
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
