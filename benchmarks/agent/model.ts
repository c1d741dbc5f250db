import { turn } from "./adding.ts";

interface Options {
  readonly prompt: readonly { readonly role: string }[];
}

/** A model of the AI SDK that answers at once. It is asked by Armature, the AI SDK and Mastra. */
export function countingModel(steps: number, tool: string) {
  const answer = ({ prompt }: Options) => {
    const results = prompt.filter(({ role }) => role === "tool").length;
    const { call, text } = turn(results, steps);
    return {
      content:
        call === undefined
          ? [{ type: "text" as const, text }]
          : [
              {
                type: "tool-call" as const,
                toolCallId: `call_${results}`,
                toolName: tool,
                input: JSON.stringify(call),
              },
            ],
      finishReason: { unified: call === undefined ? ("stop" as const) : ("tool-calls" as const), raw: undefined },
      usage: {
        inputTokens: { total: 10, noCache: 10, cacheRead: 0, cacheWrite: 0 },
        outputTokens: { total: 5, text: 5, reasoning: 0 },
      },
      warnings: [],
    };
  };
  return {
    specificationVersion: "v4" as const,
    provider: "counting",
    modelId: "counting",
    supportedUrls: {},
    doGenerate: async (options: Options) => answer(options),
    doStream: async (options: Options) => {
      const { content, finishReason, usage } = answer(options);
      const parts = content.flatMap((part): readonly object[] =>
        part.type === "tool-call"
          ? [part]
          : [
              { type: "text-start", id: "1" },
              { type: "text-delta", id: "1", delta: part.text },
              { type: "text-end", id: "1" },
            ],
      );
      const all = [{ type: "stream-start", warnings: [] }, ...parts, { type: "finish", finishReason, usage }];
      return { stream: ReadableStream.from(all) as unknown as ReadableStream<never> };
    },
  };
}
