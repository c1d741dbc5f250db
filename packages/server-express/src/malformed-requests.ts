import type { Server, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { typeOf } from "./problem.ts";

interface Refusal {
  readonly status: string;
  readonly code: string;
  readonly detail: string;
}

const refusals: Readonly<Record<string, Refusal>> = {
  HPE_HEADER_OVERFLOW: {
    status: "431 Request Header Fields Too Large",
    code: "http.headers_too_large",
    detail: "The request's address and headers are too long.",
  },
  ERR_HTTP_REQUEST_TIMEOUT: {
    status: "408 Request Timeout",
    code: "http.request_timeout",
    detail: "The request did not arrive in time.",
  },
};

const malformed: Refusal = {
  status: "400 Bad Request",
  code: "http.malformed",
  detail: "The request is not HTTP as this server understands it.",
};

/** What is refused before there is a request, so without a request id. */
export const malformedRequests = [...Object.values(refusals), malformed].map(({ status, code, detail }) => ({
  code,
  status: Number.parseInt(status, 10),
  kind: "invalid" as const,
  sentence: detail,
}));

/** Answers what Node cannot read as a request with problem details too, and closes the connection. */
export function refuseMalformed(server: Server): void {
  // By socket, the answer that is under way: nothing may be written into the middle of it.
  const underWay = new WeakMap<object, ServerResponse>();
  server.on("request", (request, response) => underWay.set(request.socket, response));
  server.on("clientError", (error: NodeJS.ErrnoException, socket) => {
    const answering = underWay.get(socket);
    const interrupts = answering?.headersSent === true && !answering.writableFinished;
    if (error.code === "ECONNRESET" || !socket.writable || interrupts) {
      socket.destroy();
      return;
    }
    (socket as Socket).end(textOf(refusals[error.code ?? ""] ?? malformed));
  });
}

function textOf({ status, code, detail }: Refusal): string {
  const [number = "", ...title] = status.split(" ");
  const body = JSON.stringify({
    type: typeOf(code),
    title: title.join(" "),
    status: Number(number),
    detail,
    code,
    kind: "invalid",
  });
  const head = [
    `HTTP/1.1 ${status}`,
    "content-type: application/problem+json; charset=utf-8",
    `content-length: ${Buffer.byteLength(body)}`,
    "cache-control: no-store",
    "connection: close",
  ];
  return `${head.join("\r\n")}\r\n\r\n${body}`;
}
