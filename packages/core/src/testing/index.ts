export { type FixedClock, fixedClock } from "./fixed-clock.ts";
export { type Acted, type ExpectedEvent, type Fixed, type Given, given, type TestEvent } from "./given.ts";
export { type Intercepted, type Interception, intercepted } from "./intercepted.ts";
export { type LogEntry, type RecordingLogger, recordingLogger } from "./recording-logger.ts";
export { sequentialIds } from "./sequential-ids.ts";
