import { InvalidInput } from "../../kernel/errors.ts";

/** Where browsers may be sent to in the course of an authorization. */
export interface AddressOptions {
  /** The callback that providers send browsers back to, where an authorization names none. */
  readonly redirectUri: string | undefined;
  /** Origins that an authorization may name as its callback; any when undefined, and no callback is configured. */
  readonly redirectOrigins: readonly string[] | undefined;
  /** Origins that the callback may send a browser on to. */
  readonly returnOrigins: readonly string[];
}

interface Addresses {
  readonly redirectUri?: string | undefined;
  readonly returnTo?: string | undefined;
}

/**
 * Gives a function that finds out where an authorization sends the browser: its own addresses where it names some, else
 * the host's. The function throws `InvalidInput` for what the host does not allow.
 */
export function authorizationAddresses(options: AddressOptions) {
  const configured = options.redirectUri === undefined ? [] : [new URL(options.redirectUri).origin];
  const allowed =
    options.redirectOrigins === undefined && configured.length === 0
      ? undefined
      : [...configured, ...(options.redirectOrigins ?? [])];
  return (input: Addresses): Addresses & { readonly redirectUri: string } => {
    const { returnTo, redirectUri = options.redirectUri } = input;
    if (redirectUri === undefined)
      throw invalid("redirectUri", "is needed: the host has configured no callback of its own");
    if (allowed !== undefined && !allowed.includes(new URL(redirectUri).origin))
      throw invalid("redirectUri", "is not of an origin that the host allows");
    if (returnTo !== undefined && !options.returnOrigins.includes(new URL(returnTo).origin))
      throw invalid("returnTo", "is not of an origin that the host allows");
    for (const [name, address] of Object.entries({ redirectUri, returnTo }))
      if (address !== undefined && holdsUser(address)) throw invalid(name, "holds a user name or a password");
    return { redirectUri, returnTo };
  };
}

function holdsUser(address: string): boolean {
  const { username, password } = new URL(address);
  return username !== "" || password !== "";
}

function invalid(path: string, message: string): InvalidInput {
  return new InvalidInput({ subject: "The authorization", issues: [{ path, message }] });
}
