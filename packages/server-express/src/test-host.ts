// What a host gives `armature-server`, for its tests: a context whose actions misbehave on request.
import { action, defineContext, defineContract, operationTool } from "@armature/core";
import { z } from "zod";

const contract = defineContract("trouble", {
  hang: action({
    input: z.strictObject({}),
    permission: "trouble:make",
    http: "POST /hang",
    summary: "Ends when it is given up.",
  }),
  crash: action({
    input: z.strictObject({}),
    permission: "trouble:make",
    http: "POST /crash",
    summary: "Throws where nobody catches.",
  }),
});

const trouble = defineContext(contract, {
  handlers: {
    hang: (_input, { log, signal }) => {
      log.info("hanging");
      return new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve()));
    },
    crash: () => {
      setImmediate(() => {
        throw new Error("nobody catches this");
      });
    },
  },
});

export default {
  contexts: [trouble],
  allowedOrigins: ["http://127.0.0.1:4000"],
  mcp: { tools: [operationTool(contract, "hang")] },
};
