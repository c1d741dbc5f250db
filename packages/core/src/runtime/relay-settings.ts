export interface RelayOptions {
  /** Failed deliveries of one event to one consumer before the event is parked. Default 8. */
  readonly maxAttempts?: number;
  /** Failed runs of one sent command before it is parked: with the default waits, 24 are about a quarter of an hour. Default 24. */
  readonly maxCommandAttempts?: number;
  /** Wait after the first failure, doubled each time up to `maxBackoffMs`. Default 200. */
  readonly backoffMs?: number;
  /** Default 60 000. */
  readonly maxBackoffMs?: number;
  /** Longest wait between looks at the outbox when nobody nudges. Default 1 000. */
  readonly pollMs?: number;
  /** Event handlers that this process runs at the same time. Default 8. */
  readonly concurrency?: number;
  /** Sent commands that it runs at the same time, beside the handlers. Default 16. */
  readonly commandConcurrency?: number;
}

/** The options with their defaults. */
export interface RelaySettings extends Required<RelayOptions> {
  /** Milliseconds to wait after so many failures. */
  backoff(attempts: number): number;
}

export function relaySettings(options: RelayOptions): RelaySettings {
  const settings = {
    maxAttempts: 8,
    maxCommandAttempts: 24,
    backoffMs: 200,
    maxBackoffMs: 60_000,
    pollMs: 1_000,
    concurrency: 8,
    commandConcurrency: 16,
    ...options,
  };
  const { backoffMs, maxBackoffMs } = settings;
  return {
    ...settings,
    backoff: (attempts) => Math.ceil(Math.min(maxBackoffMs, backoffMs * 2 ** (attempts - 1))),
  };
}
