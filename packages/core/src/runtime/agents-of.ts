import { agentsContext } from "../contexts/agents/context.ts";
import { ModelClient } from "../contexts/agents/model-client.ts";
import { maxCost } from "../contexts/agents/model-prices.ts";
import type { Clock } from "../kernel/clock.ts";
import type { Ids } from "../kernel/ids.ts";
import type { ArmatureOptions } from "./armature.ts";

/** The context of the host's agents, with its models and their prices. */
export function agentsOf(options: ArmatureOptions, ports: { readonly clock: Clock; readonly ids: Ids }) {
  const { agents = [], models = {}, prices } = options;
  const random = () => ports.ids.random(4).reduce((sum, byte) => sum / 256 + byte, 0) / 256;
  return agentsContext({
    definitions: agents,
    model: new ModelClient({ models, prices, clock: ports.clock, random }),
    priceOf: (names, tokens) => dearest(options, names, tokens),
  });
}

/** What the dearest of these models costs at most; undefined where the price of one is not known. */
function dearest(
  { models = {}, prices }: ArmatureOptions,
  names: readonly string[],
  tokens: Parameters<typeof maxCost>[2],
): number | undefined {
  const costs = names.map((name) => (models[name] === undefined ? undefined : maxCost(prices, models[name], tokens)));
  if (costs.some((cost) => cost?.known !== true)) return undefined;
  return Math.max(...costs.map((cost) => (cost?.known === true ? cost.nanos : 0)));
}
