import type { IncomingHttpHeaders, Server } from "node:http";
import type { AddressInfo } from "node:net";
import type { PrincipalInput } from "@armature/core";

/** A host that listens. */
export interface Host {
  readonly origin: string;
  /** Takes no more requests, ends streams, lets requests under way finish, and closes the application. */
  close(): Promise<void>;
}

/** Stands for the host's session: a real one would look at a cookie or a token. */
export function signedIn(headers: IncomingHttpHeaders): PrincipalInput | undefined {
  const user = headers["x-demo-user"];
  return typeof user === "string" ? { tenant: "acme", user } : undefined;
}

export function originOf(server: Server): string {
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
