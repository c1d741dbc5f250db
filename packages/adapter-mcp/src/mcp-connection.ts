import { type ActionContext, ArmatureError, type JsonObject, parse } from "@armature/core";
import {
  type CallToolResult,
  Client,
  type PriorDiscovery,
  ProtocolError,
  SdkError,
  SdkErrorCode,
  SdkHttpError,
  StreamableHTTPClientTransport,
  UnauthorizedError,
} from "@modelcontextprotocol/client";
import { z } from "zod";
import { type Mcp, type PinnedTool, pinnedTool } from "./contract.ts";
import { McpCallRefused, McpInputRequired, McpProtocolBroken, McpToolFailed, McpUnauthorized } from "./errors.ts";
import { GuardedFetch } from "./guarded-fetch.ts";
import type { McpServer } from "./mcp-server.ts";

type Ctx = ActionContext<Mcp, never>;

/** What this package says of itself to servers. */
const SELF = { name: "armature", version: "0.1.0" } as const;

/** What a server is told of a call, so that it can do it once. Our own servers read it too. */
export const IDEMPOTENCY_KEY = "armature/idempotency-key";

/** The call's own signal ends what is waited for at its deadline. This is for what does not listen to it. */
const GRACE_MS = 5_000;

const INVALID_PARAMS = -32602;
const METHOD_NOT_FOUND = -32601;
const MISSING_CAPABILITY = -32021;

/** One exchange with a server for one caller: it begins with what the server is, and keeps nothing afterwards. */
export class McpConnection {
  readonly #ctx: Ctx;
  readonly #server: McpServer;
  readonly #client: Client;
  readonly #fetch: GuardedFetch;

  private constructor(ctx: Ctx, server: McpServer, fetch: GuardedFetch) {
    this.#ctx = ctx;
    this.#server = server;
    this.#fetch = fetch;
    this.#client = new Client(SELF, {
      versionNegotiation: { mode: "auto" },
      // Nobody is there to be asked, and nothing is declared that could be.
      capabilities: {},
      inputRequired: { autoFulfill: false },
    });
  }

  /** @param prior what an earlier exchange for the same caller has found the server to be */
  static async open(ctx: Ctx, server: McpServer, prior: PriorDiscovery | undefined): Promise<McpConnection> {
    const headers = await server.headers({
      tenant: ctx.tenant,
      principal: ctx.principal,
      secret: async (name) => (await ctx.secrets.get(ctx.tenant, `tenant/${name}`))?.value,
    });
    const { signal } = ctx;
    const left = () => ctx.deadline - ctx.clock.now() + GRACE_MS;
    const fetch = new GuardedFetch(ctx.http, server.url, headers, { maxBytes: server.maxBytes, signal, left });
    const connection = new McpConnection(ctx, server, fetch);
    await connection.#asked("", () =>
      connection.#client.connect(
        new StreamableHTTPClientTransport(new URL(server.url), { fetch: fetch.fetch, onInsufficientScope: "throw" }),
        { ...connection.#waiting(), ...(prior === undefined ? {} : { prior }) },
      ),
    );
    return connection;
  }

  /** What the server has been found to be. */
  get discovery(): PriorDiscovery {
    const discover = this.#client.getDiscoverResult();
    return discover === undefined ? { kind: "legacy" } : { kind: "modern", discover };
  }

  async tools(): Promise<readonly PinnedTool[]> {
    // The library would say so on the console.
    if (this.#client.getServerCapabilities()?.tools === undefined) return [];
    const { tools } = await this.#asked("", () => this.#client.listTools(undefined, this.#waiting()));
    try {
      return parse(z.array(pinnedTool), tools, "The tools");
    } catch {
      throw new McpProtocolBroken({ server: this.#server.name, reason: "a tool is not described as it should be" });
    }
  }

  /** `result` is JSON where the tool gives any, or else all of its text, or else the blocks of its answer. */
  async call(tool: PinnedTool, args: JsonObject): Promise<{ readonly structured: unknown; readonly result: unknown }> {
    const given = { server: this.#server.name, tool: tool.name };
    const answer = (await this.#asked(tool.name, () =>
      this.#client.callTool(
        { name: tool.name, arguments: args, _meta: { [IDEMPOTENCY_KEY]: this.#ctx.callId } },
        // Without the output's schema: the library says of an answer that does not fit that the call was refused.
        { ...this.#waiting(), allowInputRequired: true, toolDefinition: { ...tool, outputSchema: undefined } as never },
      ),
    )) as CallToolResult & { readonly inputRequests?: Readonly<Record<string, unknown>> };
    if (answer.inputRequests !== undefined || (answer as { resultType?: unknown }).resultType === "input_required")
      throw new McpInputRequired({ ...given, asks: asksOf(answer.inputRequests ?? {}) });
    const content = answer.content ?? [];
    const text = content.every(({ type }) => type === "text")
      ? content.map((block) => (block as { readonly text: string }).text).join("\n")
      : undefined;
    if (answer.isError === true) throw new McpToolFailed({ ...given, text: (text ?? "").slice(0, LONGEST_REASON) });
    const structured: unknown = answer.structuredContent;
    return { structured, result: structured ?? text ?? content };
  }

  /** Ends it; never throws. */
  async close(): Promise<void> {
    await this.#client.close().catch(() => undefined);
  }

  #waiting() {
    const timeout = Math.max(1, this.#ctx.deadline - this.#ctx.clock.now() + GRACE_MS);
    return { signal: this.#ctx.signal, timeout };
  }

  // The library's errors quote what servers answer, so none of them goes on, as a cause neither.
  async #asked<T>(tool: string, ask: () => Promise<T>): Promise<T> {
    const server = this.#server.name;
    try {
      return await ask();
    } catch (error) {
      this.#ctx.signal.throwIfAborted();
      if (this.#fetch.failure instanceof ArmatureError) throw this.#fetch.failure;
      if (error instanceof UnauthorizedError) throw new McpUnauthorized({ server, status: 401 });
      if (error instanceof SdkHttpError) {
        const { status } = error;
        if (status === 401 || status === 403) throw new McpUnauthorized({ server, status });
        throw new McpProtocolBroken({ server, reason: `it answered with the status ${status}` });
      }
      if (error instanceof ProtocolError) {
        if (error.code === MISSING_CAPABILITY)
          throw new McpInputRequired({ server, tool, asks: missingOf(error.data) });
        if (error.code === INVALID_PARAMS || error.code === METHOD_NOT_FOUND)
          throw new McpCallRefused({ server, tool, rpcCode: error.code });
        throw new McpProtocolBroken({ server, reason: `it answered with the error ${error.code}` });
      }
      if (error instanceof SdkError) throw new McpProtocolBroken({ server, reason: reasonOf(error.code) });
      throw new McpProtocolBroken({ server, reason: "its answer cannot be read" });
    }
  }
}

const LONGEST_REASON = 2_000;

function reasonOf(code: SdkErrorCode): string {
  if (code === SdkErrorCode.InvalidResult) return "its answer does not fit what it has said of the tool";
  if (code === SdkErrorCode.EraNegotiationFailed) return "it speaks no version that is known here";
  return code.toLowerCase().replaceAll("_", " ");
}

function asksOf(requests: Readonly<Record<string, unknown>>): string[] {
  return Object.values(requests).map((request) => {
    const { method, params } = request as { readonly method?: unknown; readonly params?: { message?: unknown } };
    const message = typeof params?.message === "string" ? `: ${params.message.slice(0, 500)}` : "";
    return `${String(method).slice(0, 100)}${message}`;
  });
}

function missingOf(data: unknown): string[] {
  const needed = (data as { readonly requiredCapabilities?: object } | undefined)?.requiredCapabilities ?? {};
  return Object.keys(needed).map((each) => each.slice(0, 100));
}
