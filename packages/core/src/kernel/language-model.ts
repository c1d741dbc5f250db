/**
 * A language model, described only by what is called of it. Every model of the AI SDK fits (`LanguageModelV2`, `V3`,
 * `V4`), whichever version of `@ai-sdk/provider` its provider brings: those types widen in patch releases, so naming
 * one of them here would refuse models of the next.
 */
export interface LanguageModel {
  /** `v2`, `v3` or `v4`. What is newer is spoken to as `v4`. */
  readonly specificationVersion: string;
  /** Who serves it, `openai.chat`. */
  readonly provider: string;
  readonly modelId: string;
  // biome-ignore lint/suspicious/noExplicitAny: options and answers differ between versions; what comes is parsed
  doGenerate(options: any): PromiseLike<any>;
  // biome-ignore lint/suspicious/noExplicitAny: as above
  doStream(options: any): PromiseLike<any>;
}
