import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import type { LanguageModelV4 } from "@ai-sdk/provider";
import type { LanguageModelV2 } from "@ai-sdk/provider-v2";
import type { LanguageModelV3 } from "@ai-sdk/provider-v3";
import { expectTypeOf, test } from "vitest";
import type { ScriptedModel } from "../testing/scripted-model.ts";
import type { LanguageModel } from "./language-model.ts";

test("models of every version of the AI SDK's interface are language models", () => {
  expectTypeOf<LanguageModelV2>().toExtend<LanguageModel>();
  expectTypeOf<LanguageModelV3>().toExtend<LanguageModel>();
  expectTypeOf<LanguageModelV4>().toExtend<LanguageModel>();
  expectTypeOf<LanguageModelV2 | LanguageModelV3 | LanguageModelV4>().toExtend<LanguageModel>();
  expectTypeOf<ScriptedModel>().toExtend<LanguageModel>();
});

test("what a provider's function gives is one, without a cast", () => {
  const provider = createOpenAICompatible({ name: "acme", baseURL: "https://models.example/v1" });
  const models: Readonly<Record<string, LanguageModel>> = {
    default: provider("large"),
    fast: provider.chatModel("small"),
  };
  expectTypeOf(models).toExtend<Record<string, LanguageModel>>();
});

test("a version that is to come is one too, and what is no model is none", () => {
  type LanguageModelV5 = Omit<LanguageModelV4, "specificationVersion" | "doGenerate"> & {
    readonly specificationVersion: "v5";
    doGenerate(options: { readonly somethingNew: true }): Promise<{ readonly alsoNew: string }>;
  };
  expectTypeOf<LanguageModelV5>().toExtend<LanguageModel>();
  expectTypeOf<{ readonly modelId: string }>().not.toExtend<LanguageModel>();
  expectTypeOf<string>().not.toExtend<LanguageModel>();
});
