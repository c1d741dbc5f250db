import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { ModelUsage } from "../../kernel/model-turn.ts";
import { costOf, type ModelPrice, type ModelPrices, maxCost, modelPrices, priceOf } from "./model-prices.ts";

const model = { provider: "acme.chat", modelId: "large" };
const used = (
  inputTokens: number,
  outputTokens: number,
  cachedInputTokens = 0,
  cacheWriteInputTokens = 0,
): ModelUsage => ({
  inputTokens,
  outputTokens,
  cachedInputTokens,
  cacheWriteInputTokens,
  reasoningTokens: 0,
});
const at = (price: ModelPrice): ModelPrices => ({ currency: "EUR", models: { large: price } });

/** A price as its decimals, so that nothing of it passes through a double. */
const decimal = fc.tuple(fc.integer({ min: 0, max: 99_999 }), fc.integer({ min: 0, max: 999_999_999 }));
type Decimal = readonly [units: number, nanos: number];
const numberOf = ([units, nanos]: Decimal) => Number(`${units}.${String(nanos).padStart(9, "0")}`);
const nanosOf = ([units, nanos]: Decimal) => BigInt(units) * 1_000_000_000n + BigInt(nanos);
const tokens = fc.integer({ min: 0, max: 20_000_000 });

describe("a cost", () => {
  test("is that of the catalogue's prices", () => {
    const prices = at({ inputPerMillion: 2.5, cachedInputPerMillion: 0.25, outputPerMillion: 10 });
    expect(costOf(prices, model, used(1_000, 100, 600))).toEqual({ known: true, currency: "EUR", nanos: 2_150_000 });
    expect(costOf(at({ inputPerMillion: 0.1, outputPerMillion: 0.2 }), model, used(3, 0))).toMatchObject({
      nanos: 300,
    });
  });

  test("is exact to the billionth, and rounded up once", () => {
    fc.assert(
      fc.property(decimal, decimal, decimal, decimal, tokens, tokens, tokens, tokens, (i, c, w, o, a, b, d, e) => {
        const prices = at({
          inputPerMillion: numberOf(i),
          cachedInputPerMillion: numberOf(c),
          cacheWriteInputPerMillion: numberOf(w),
          outputPerMillion: numberOf(o),
        });
        const exact = BigInt(a) * nanosOf(i) + BigInt(b) * nanosOf(c) + BigInt(d) * nanosOf(w) + BigInt(e) * nanosOf(o);
        const expected = (exact + 999_999n) / 1_000_000n;
        const most = BigInt(Number.MAX_SAFE_INTEGER);
        const cost = costOf(modelPrices.parse(prices), model, used(a + b + d, e, b, d));
        expect(cost).toEqual({ known: true, currency: "EUR", nanos: Number(expected > most ? most : expected) });
      }),
    );
  });

  test("is never more than what was reserved for it", () => {
    fc.assert(
      fc.property(
        fc.record(
          {
            inputPerMillion: decimal.map(numberOf),
            outputPerMillion: decimal.map(numberOf),
            cachedInputPerMillion: decimal.map(numberOf),
            cacheWriteInputPerMillion: decimal.map(numberOf),
          },
          { requiredKeys: ["inputPerMillion", "outputPerMillion"] },
        ),
        ...([tokens, tokens, tokens, tokens, tokens, tokens] as const),
        (price, input, output, cached, written, moreInput, moreOutput) => {
          const most = maxCost(at(price), model, {
            inputTokens: input + moreInput,
            maxOutputTokens: output + moreOutput,
          });
          const cost = costOf(at(price), model, used(input, output, cached, written));
          if (!most.known || !cost.known) throw new Error("Both are known.");
          expect(cost.nanos).toBeLessThanOrEqual(most.nanos);
          expect(Number.isSafeInteger(cost.nanos) && cost.nanos >= 0).toBe(true);
        },
      ),
    );
  });

  test("counts what was cached as other input where it has no price of its own", () => {
    const prices = at({ inputPerMillion: 1, outputPerMillion: 0 });
    expect(costOf(prices, model, used(1_000, 0, 300, 200))).toMatchObject({ nanos: 1_000_000 });
  });

  test("is unknown without a price, or without a word of the provider", () => {
    const unpriced = { known: false, reason: "no-price" };
    expect(costOf(undefined, model, used(1, 1))).toEqual(unpriced);
    expect(costOf(at({ inputPerMillion: 1, outputPerMillion: 1 }), { ...model, modelId: "huge" }, used(1, 1))).toEqual(
      unpriced,
    );
    expect(maxCost(undefined, model, { inputTokens: 1, maxOutputTokens: 1 })).toEqual(unpriced);
    const { outputTokens: _, ...untold } = used(1, 1);
    expect(costOf(at({ inputPerMillion: 1, outputPerMillion: 1 }), model, untold)).toEqual({
      known: false,
      reason: "no-usage",
    });
  });
});

test("a price is found by the full name first, then by the provider's first part, then by the id", () => {
  const priced = (inputPerMillion: number): ModelPrice => ({ inputPerMillion, outputPerMillion: 0 });
  const models: Record<string, ModelPrice> = {
    "acme.chat/large": priced(1),
    "acme/large": priced(2),
    large: priced(3),
  };
  for (const expected of [1, 2, 3]) {
    expect(priceOf({ currency: "EUR", models }, model)).toEqual(priced(expected));
    delete models[Object.keys(models)[0]!];
  }
  expect(priceOf({ currency: "EUR", models }, model)).toBeUndefined();
  expect(priceOf({ currency: "EUR", models }, { provider: "acme", modelId: "constructor" })).toBeUndefined();
});

test.each([
  ["a currency that is none", { currency: "euro", models: {} }],
  ["a negative price", at({ inputPerMillion: -1, outputPerMillion: 1 })],
  ["more decimals than are kept", at({ inputPerMillion: 0.0000000001, outputPerMillion: 1 })],
  ["no price for output", { currency: "EUR", models: { large: { inputPerMillion: 1 } } }],
  ["a field that is not known", at({ inputPerMillion: 1, outputPerMillion: 1, input: 2 } as ModelPrice)],
])("a catalogue does not take %s", (_, prices) => {
  expect(modelPrices.safeParse(prices).success).toBe(false);
});
