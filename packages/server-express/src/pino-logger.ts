import type { LogFields, Logger } from "@armature/core";
import { type DestinationStream, pino, stdSerializers } from "pino";

export interface PinoLoggerOptions {
  /** `info` when absent. */
  readonly level?: "debug" | "info" | "warn" | "error" | "silent" | undefined;
  /** Where the lines go; standard output when absent. */
  readonly destination?: DestinationStream | undefined;
}

// Nobody should log these. Should somebody, they are not written.
const SENSITIVE = [
  ...["password", "secret", "token", "accessToken", "refreshToken", "idToken", "apiKey", "key", "clientSecret"],
  ...["authorization", "cookie", "codeVerifier", "headers", "body", "query"],
  ...["access_token", "refresh_token", "id_token", "api_key", "client_secret", "code_verifier"],
];

/** A logger that writes one line of JSON an entry, with pino. Fields that are named like secrets are not written. */
export function pinoLogger(options: PinoLoggerOptions = {}): Logger {
  const logger = pino(
    {
      level: options.level ?? "info",
      base: null,
      messageKey: "message",
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
      formatters: { level: (level) => ({ level }) },
      serializers: { error: stdSerializers.errWithCause },
      redact: { paths: SENSITIVE.flatMap((name) => [name, `*.${name}`]), censor: "[redacted]" },
    },
    options.destination ?? pino.destination({ dest: 1, sync: true }),
  );
  const write =
    (level: "debug" | "info" | "warn" | "error") =>
    (message: string, fields: LogFields = {}) =>
      logger[level](fields, message);
  return { debug: write("debug"), info: write("info"), warn: write("warn"), error: write("error") };
}
