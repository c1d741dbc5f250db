export { type BrokenRule, brokenRules } from "./faults/broken-rules.ts";
export {
  type AcknowledgedCall,
  defineFaultScenario,
  type FaultConsumer,
  type FaultScenario,
  type FaultStage,
  type FaultStep,
  type FaultWorld,
  type Settled,
} from "./faults/fault-scenario.ts";
export type { FaultViolation } from "./faults/fault-trace.ts";
export { type FaultFigures, type FaultOptions, type FaultRun, runFaults } from "./faults/run-faults.ts";
export { SeededRandom, seededIds } from "./faults/seeded-random.ts";
export { type FixedClock, fixedClock } from "./fixed-clock.ts";
export { type Acted, type ExpectedEvent, type Fixed, type Given, given, type TestEvent } from "./given.ts";
export { type Intercepted, type Interception, intercepted } from "./intercepted.ts";
export { ProviderSimulator, type ProviderSimulatorOptions, type SimulatedHandler } from "./provider-simulator.ts";
export { RecordedRequest } from "./recorded-request.ts";
export { type LogEntry, type RecordingLogger, recordingLogger } from "./recording-logger.ts";
export { ScriptedModel, type ScriptedModelOptions } from "./scripted-model.ts";
export type {
  ScriptedAnswer,
  ScriptedCall,
  ScriptedFailure,
  ScriptedToolCall,
  ScriptedTurn,
} from "./scripted-turn.ts";
export { sequentialIds } from "./sequential-ids.ts";
export { type AnswerOptions, answer, type SimulatedAnswer } from "./simulated-answer.ts";
export {
  SimulatedAuthorizationServer,
  type SimulatedAuthorizationServerOptions,
  type SimulatedToken,
} from "./simulated-authorization-server.ts";
