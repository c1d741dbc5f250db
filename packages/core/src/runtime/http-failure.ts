import { AddressRefused, ProviderAnsweredGarbage, ProviderUnreachable } from "../kernel/port-errors.ts";

const REASONS: Readonly<Record<string, string>> = {
  ENOTFOUND: "the name is unknown",
  EAI_AGAIN: "the name could not be looked up",
  ECONNREFUSED: "the connection was refused",
  ECONNRESET: "the connection was cut off",
  EPIPE: "the connection was cut off",
  UND_ERR_SOCKET: "the connection was cut off",
  ETIMEDOUT: "the connection could not be opened in time",
  UND_ERR_CONNECT_TIMEOUT: "the connection could not be opened in time",
  EHOSTUNREACH: "there is no route",
  ENETUNREACH: "there is no route",
  EADDRNOTAVAIL: "there is no route",
  UND_ERR_CLOSED: "the client is closed",
  UND_ERR_DESTROYED: "the client is closed",
};

const TLS =
  /^(EPROTO$|ERR_SSL_|ERR_TLS_|CERT_|CRL_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_|INVALID_CA$|HOSTNAME_MISMATCH$)/;
const DECODING = /^(Z_|ZSTD_|ERR__ERROR_|ERR_BROTLI_)/;

/**
 * What went wrong below, as an error of the port. Only the code of the original is read and it is not kept as cause:
 * its other fields hold pieces of the request and the answer.
 */
export function httpFailure(
  error: unknown,
  host: string,
): AddressRefused | ProviderUnreachable | ProviderAnsweredGarbage {
  for (const each of causes(error)) {
    if (each instanceof AddressRefused) return new AddressRefused({ host, reason: each.details.reason });
    const { name, message } = each;
    const code = "code" in each ? String(each.code) : "";
    if (name === "HTTPParserError") return new ProviderAnsweredGarbage({ host, reason: "it is not HTTP" });
    if (code === "UND_ERR_HEADERS_OVERFLOW")
      return new ProviderAnsweredGarbage({ host, reason: "its headers are too large" });
    if (DECODING.test(code) || message.startsWith("too many content-encodings"))
      return new ProviderAnsweredGarbage({ host, reason: "its content encoding cannot be undone" });
    if (message === "bad port") return new AddressRefused({ host, reason: "the port is not one for HTTP" });
    if (TLS.test(code)) return new ProviderUnreachable({ host, reason: `TLS failed with ${code}` });
    const reason = REASONS[code];
    if (reason !== undefined) return new ProviderUnreachable({ host, reason });
  }
  return new ProviderUnreachable({ host, reason: "the exchange failed" });
}

function* causes(error: unknown): Generator<Error> {
  let current = error;
  for (let depth = 0; depth < 6 && current instanceof Error; depth += 1) {
    yield current;
    current = current.cause;
  }
}
