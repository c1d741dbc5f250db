import type { ContextDefinition } from "../../kernel/context.ts";
import { IdempotencyKeyReused } from "../../kernel/errors.ts";
import type { Activity, ExecutionDefinition } from "../../kernel/execution.ts";
import type { ActivityAttempt, ExecutionHost } from "../../kernel/execution-engine.ts";
import type { CarriedExecution, ExecutionEnd, ExecutionWrite } from "../../kernel/executions.ts";
import { parse } from "../../kernel/parse.ts";
import { asParty, type Principal } from "../../kernel/principal.ts";
import type { Json } from "../../kernel/schema.ts";
import type { CallRequest } from "../call.ts";
import { clientOf } from "../client.ts";
import { Deadlines } from "../deadlines.ts";
import type { Calls } from "../handler-context.ts";
import type { RuntimePorts } from "../runtime-ports.ts";
import { idempotencyKeyOf, runActivity, timeoutOf } from "./activity-attempt.ts";
import { storableJson } from "./storable-json.ts";

type OwnWrite = Omit<ExecutionWrite, "tenant">;

/** A host whose commands commit where the journals are: their changes and what is written of an execution can be one commit. */
export interface JoinableHost extends ExecutionHost {
  /** Whether the activity's result and what it changes are one commit. */
  joins?(activity: Activity): boolean;
  /** @param join of an activity that joins: what is written with its change */
  attempt(attempt: ActivityAttempt, join?: (value: Json | undefined) => OwnWrite): Promise<Json | undefined>;
  /** @param write what is written of the execution with what its context makes of the end */
  ended(execution: CarriedExecution, end: ExecutionEnd, write?: OwnWrite): Promise<void>;
}

/**
 * A context's executions as they are served by this application.
 *
 * @param isCommand whether an operation is a command that commits where the journals are; absent: none does
 */
export function executionHost(
  { contract: { name: context }, executions }: ContextDefinition,
  { clock, ids, logger }: Pick<RuntimePorts, "clock" | "ids" | "logger">,
  calls: Pick<Calls, "call" | "stream">,
  isCommand: ((operation: string) => boolean) | undefined,
): JoinableHost {
  const deadlines = new Deadlines(clock);
  const definitions = new Map(executions.map((definition) => [keyOf(definition.name, definition.version), definition]));
  const definitionOf = ({ definition, version }: CarriedExecution): ExecutionDefinition =>
    definitions.get(keyOf(definition, version))!;
  const requestOf = (execution: CarriedExecution, asSystem: boolean): CallRequest => {
    const { principal, traceparent, correlationId, id } = execution;
    const caller = asSystem ? systemFor(principal, `${context}.executions`) : principal;
    return { principal: caller, traceparent, correlationId, causationId: id, from: context };
  };
  return {
    ...{ context, definitions: executions, clock, ids, logger },
    ...(isCommand === undefined
      ? {}
      : { joins: ({ operation }: Activity) => operation !== undefined && isCommand(operation) }),
    async attempt(attempt, join) {
      const { execution, name, args, signal } = attempt;
      const activity = definitionOf(execution).activities[name]!;
      const base = requestOf(execution, activity.system === true);
      if (activity.operation === undefined) {
        const value = await runActivity(attempt, activity, {
          ...{ context, clock, deadlines, logger },
          client: (contract, options) => withOptions(clientOf(calls, contract, base), options),
        });
        return checked(name, activity, value);
      }
      const request: CallRequest = { ...base, timeoutMs: timeoutOf(activity) };
      const answer = await calls.call(activity.operation, args, {
        ...request,
        ...(join === undefined
          ? { signal, idempotencyKey: idempotencyKeyOf(context, attempt) }
          : {
              join: (value: unknown) => ({
                context,
                change: { step: "write" as const, write: join(checked(name, activity, value as Json | undefined)) },
              }),
            }),
      });
      return join === undefined ? checked(name, activity, answer as Json | undefined) : (answer as Json | undefined);
    },
    async ended(execution, end, write) {
      const { ended } = definitionOf(execution);
      if (ended === undefined) return;
      const outcome =
        end.status === "completed"
          ? { result: end.result ?? null }
          : {
              error: { code: end.error.code, message: end.error.message },
              retryable: end.retryFrom !== undefined,
            };
      const { id, retries, tenant } = execution;
      try {
        await calls.call(
          `${context}.${ended}`,
          { executionId: id, status: end.status, ...outcome },
          {
            ...requestOf(execution, true),
            ...(write === undefined
              ? { idempotencyKey: `${context}/${id}/ended/r${retries}` }
              : { join: () => ({ context, change: { step: "write" as const, write } }) }),
          },
        );
      } catch (error) {
        // It has heard of an end, and then the execution came to another one: the first one counts.
        if (!(error instanceof IdempotencyKeyReused)) throw error;
        logger.warn("An execution has ended twice", { tenant, execution: id, status: end.status });
      }
    },
  };
}

function checked(name: string, { output }: Activity, value: Json | undefined): Json | undefined {
  const subject = `The result of the activity "${name}"`;
  return storableJson(output === undefined ? value : parse(output, value, subject), subject);
}

/** Armature itself, on behalf of whom the execution is for. */
function systemFor({ tenant, actor, onBehalfOf }: Principal, id: string): Principal {
  return { tenant, actor: { type: "system", id }, onBehalfOf: onBehalfOf ?? asParty(actor) };
}

/** What stands for a definition in a map. */
export function keyOf(name: string, version: number): string {
  return `${name}@${version}`;
}

function withOptions(client: Record<string, unknown>, options: (name: string) => object): Record<string, unknown> {
  const keyed: Record<string, unknown> = {};
  for (const [name, call] of Object.entries(client))
    keyed[name] = (input: unknown, given: object = {}) =>
      (call as (input: unknown, options: object) => unknown)(input, { ...options(name), ...given });
  return keyed;
}
