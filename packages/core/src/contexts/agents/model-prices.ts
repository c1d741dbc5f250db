import { z } from "zod";
import type { ModelUsage } from "../../kernel/model-turn.ts";

/** Nine decimals are kept of a price, and more than that are refused rather than rounded. */
const perMillion = z
  .number()
  .min(0)
  .max(1_000_000)
  .refine((price) => Number(price.toFixed(9)) === price, { error: "must have at most nine decimals" });

/** What a model costs, in units of the catalogue's currency for each million tokens. */
export const modelPrice = z.strictObject({
  inputPerMillion: perMillion,
  outputPerMillion: perMillion,
  /** Input that the provider had in its cache; the price of other input when absent. */
  cachedInputPerMillion: perMillion.optional(),
  /** Input that the provider wrote to its cache; the price of other input when absent. */
  cacheWriteInputPerMillion: perMillion.optional(),
});

/** What the host's models cost. A model that is not in it has an unknown cost. */
export const modelPrices = z.strictObject({
  /** ISO 4217, `EUR`. */
  currency: z.string().regex(/^[A-Z]{3}$/),
  /** By `provider/modelId`, with the provider's full name (`openai.chat`) or its first part (`openai`), or by `modelId`. */
  models: z.record(z.string(), modelPrice),
});

/**
 * What a call cost, exactly: `nanos` are whole billionths of the currency's unit. When it is unknown, why: the catalogue
 * has no price, or the provider did not say how many tokens.
 */
export const cost = z.discriminatedUnion("known", [
  z.strictObject({ known: z.literal(true), currency: z.string(), nanos: z.int().min(0) }),
  z.strictObject({ known: z.literal(false), reason: z.enum(["no-price", "no-usage"]) }),
]);

export type ModelPrice = z.infer<typeof modelPrice>;
export type ModelPrices = z.infer<typeof modelPrices>;
export type Cost = z.infer<typeof cost>;

/** A model as prices are looked up for it. Every `LanguageModel` is one. */
export interface PricedModel {
  readonly provider: string;
  readonly modelId: string;
}

/** The price of a model: that of its full name, of its provider's first part, or of its id alone, in this order. */
export function priceOf(prices: ModelPrices | undefined, { provider, modelId }: PricedModel): ModelPrice | undefined {
  if (prices === undefined) return undefined;
  const [vendor = provider] = provider.split(".");
  for (const key of [`${provider}/${modelId}`, `${vendor}/${modelId}`, modelId])
    if (Object.hasOwn(prices.models, key)) return prices.models[key];
  return undefined;
}

/** What was used costs this much: reckoned exactly, and rounded up to a billionth once, in the end. */
export function costOf(prices: ModelPrices | undefined, model: PricedModel, usage: ModelUsage): Cost {
  const price = priceOf(prices, model);
  if (prices === undefined || price === undefined) return { known: false, reason: "no-price" };
  const { inputTokens, outputTokens, cachedInputTokens, cacheWriteInputTokens } = usage;
  if (inputTokens === undefined || outputTokens === undefined) return { known: false, reason: "no-usage" };
  const cached = Math.min(cachedInputTokens, inputTokens);
  const written = Math.min(cacheWriteInputTokens, inputTokens - cached);
  const nanos = total([
    [inputTokens - cached - written, price.inputPerMillion],
    [cached, price.cachedInputPerMillion ?? price.inputPerMillion],
    [written, price.cacheWriteInputPerMillion ?? price.inputPerMillion],
    [outputTokens, price.outputPerMillion],
  ]);
  return { known: true, currency: prices.currency, nanos };
}

/**
 * What a call costs at most that reads and writes no more than this many tokens: what to reserve before it. Whatever
 * part of the prompt is cached, `costOf` does not come to more.
 */
export function maxCost(
  prices: ModelPrices | undefined,
  model: PricedModel,
  tokens: { readonly inputTokens: number; readonly maxOutputTokens: number },
): Cost {
  const price = priceOf(prices, model);
  if (prices === undefined || price === undefined) return { known: false, reason: "no-price" };
  const { inputPerMillion, cachedInputPerMillion = 0, cacheWriteInputPerMillion = 0, outputPerMillion } = price;
  const nanos = total([
    [tokens.inputTokens, Math.max(inputPerMillion, cachedInputPerMillion, cacheWriteInputPerMillion)],
    [tokens.maxOutputTokens, outputPerMillion],
  ]);
  return { known: true, currency: prices.currency, nanos };
}

const MILLION = 1_000_000n;
const NANOS = 1_000_000_000;

// A product of tokens and price does not fit a double. What a JSON number cannot hold exactly counts as the most it can.
function total(items: readonly (readonly [tokens: number, perMillion: number])[]): number {
  const sum = items.reduce(
    (before, [tokens, price]) => before + BigInt(Math.ceil(tokens)) * BigInt(Math.round(price * NANOS)),
    0n,
  );
  const nanos = (sum + MILLION - 1n) / MILLION;
  return nanos > BigInt(Number.MAX_SAFE_INTEGER) ? Number.MAX_SAFE_INTEGER : Number(nanos);
}
