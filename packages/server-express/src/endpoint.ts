import type { ArmatureError, Principal } from "@armature/core";
import type { Exchange, HandlerRequest, HandlerResponse } from "./http-exchange.ts";

/** One request, as far as it was understood when its endpoint was found. */
export interface Call {
  readonly request: HandlerRequest;
  readonly exchange: Exchange;
  readonly query: string;
  readonly parameters: readonly (readonly [string, string])[];
}

/** What answers one method of one path. */
export interface Endpoint {
  /** `connectors.invoke`; `server.health` for the server's own. */
  readonly name: string;
  /** Codes of the errors of kind `internal` that the contract declares, and that are shown therefore. */
  readonly declared: readonly string[];
  /** Whether it is answered however often it is asked: probes must not make a server look dead. */
  readonly unlimited?: boolean;
  answer(call: Call): HandlerResponse | Promise<HandlerResponse>;
  /** The answer to an error, where it is a person who sees it. */
  refuse?(error: ArmatureError, exchange: Exchange): HandlerResponse;
}

/** Finds out who calls, and counts it. */
export type Authenticate = (request: HandlerRequest, exchange: Exchange) => Promise<Principal>;
