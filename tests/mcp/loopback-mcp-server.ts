import { createServer, type IncomingHttpHeaders } from "node:http";
import { createMcpHandler, Server, type ServerContext } from "@modelcontextprotocol/server";

export interface LoopbackTool {
  readonly name: string;
  readonly description?: string;
  readonly inputSchema: { readonly type: "object"; readonly [key: string]: unknown };
  readonly outputSchema?: { readonly type: "object"; readonly [key: string]: unknown };
  readonly annotations?: Readonly<Record<string, boolean>>;
  /** What it answers; a string is its text. */
  readonly run: (args: Readonly<Record<string, unknown>>, ctx: ServerContext) => unknown;
}

/** A call that has arrived: of which tool, and with which headers. */
export interface ArrivedCall {
  readonly tool: string;
  readonly headers: IncomingHttpHeaders;
  readonly meta: Readonly<Record<string, unknown>>;
}

export interface LoopbackMcpServer {
  readonly origin: string;
  readonly url: string;
  /** What it offers from now on. */
  tools: readonly LoopbackTool[];
  /** What it offers to a request that comes with these headers, if that is something else. */
  toolsFor: ((headers: Headers) => readonly LoopbackTool[]) | undefined;
  /** Status that every request is answered with instead, or undefined. */
  refuses: number | undefined;
  /** Where every request is sent on to instead, or undefined. */
  redirects: string | undefined;
  readonly calls: ArrivedCall[];
  /** The headers of every request. */
  readonly requests: IncomingHttpHeaders[];
  close(): Promise<void>;
}

/** A real MCP server, by the protocol's own library, on a loopback port. */
export async function loopbackMcpServer(tools: readonly LoopbackTool[]): Promise<LoopbackMcpServer> {
  const calls: ArrivedCall[] = [];
  const requests: IncomingHttpHeaders[] = [];
  const state = {
    toolsFor: undefined as LoopbackMcpServer["toolsFor"],
    tools,
    refuses: undefined as number | undefined,
    redirects: undefined as string | undefined,
  };
  const handler = createMcpHandler(({ requestInfo }) => {
    const server = new Server({ name: "loopback", version: "1.0.0" }, { capabilities: { tools: {} } });
    server.setRequestHandler("tools/list", () => ({
      tools: (state.toolsFor?.(requestInfo!.headers) ?? state.tools).map(({ run: _, ...tool }) => tool) as never,
    }));
    server.setRequestHandler("tools/call", async ({ params }, ctx) => {
      calls.push({ tool: params.name, headers: Object.fromEntries(requestInfo!.headers), meta: params._meta ?? {} });
      const answer = await state.tools.find(({ name }) => name === params.name)!.run(params.arguments ?? {}, ctx);
      return (typeof answer === "string" ? { content: [{ type: "text", text: answer }] } : answer) as never;
    });
    return server;
  });
  const http = createServer(async (request, response) => {
    requests.push(request.headers);
    if (state.refuses !== undefined) return response.writeHead(state.refuses).end();
    if (state.redirects !== undefined && request.url === "/mcp")
      return response.writeHead(307, { location: state.redirects }).end();
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const gone = new AbortController();
    response.on("close", () => gone.abort());
    const answer = await handler.fetch(
      new Request(`http://${request.headers.host}${request.url}`, {
        method: request.method!,
        headers: request.headers as Record<string, string>,
        body: request.method === "POST" ? Buffer.concat(chunks) : null,
        signal: gone.signal,
      }),
    );
    response.writeHead(answer.status, Object.fromEntries(answer.headers));
    response.end(Buffer.from(await answer.arrayBuffer()));
  });
  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
  const origin = `http://127.0.0.1:${(http.address() as { readonly port: number }).port}`;
  return Object.assign(state, {
    ...{ origin, url: `${origin}/mcp`, calls, requests },
    close: async () => {
      await handler.close();
      http.closeAllConnections();
      await new Promise((resolve) => http.close(resolve));
    },
  });
}
