import { z } from "zod";
import { toInstant } from "../kernel/clock.ts";
import type { Contract } from "../kernel/contract.ts";
import type { Ids } from "../kernel/ids.ts";
import { parse } from "../kernel/parse.ts";
import type { JsonObject } from "../kernel/schema.ts";
import type { SentCommand } from "../kernel/sent-command.ts";
import type { Delay, RecurrenceOptions } from "../kernel/timers.ts";
import type { RunnableOperation } from "./call.ts";
import type { CallInfo } from "./call-info.ts";
import { declared } from "./declared.ts";
import { dueTime, firstOccurrence } from "./recurrence.ts";
import type { UnitOfWork } from "./unit-of-work.ts";

type Target = Pick<RunnableOperation, "id" | "context">;

// It stands in addresses, and a sent command's id is never one that a context has chosen.
const recurringKey = z
  .string()
  .regex(
    /^(?!cmd_)[A-Za-z0-9][A-Za-z0-9._:~-]{0,199}$/,
    'must be 1 to 200 letters, digits and . _ : ~ -, start with a letter or digit, and not with "cmd_"',
  );

/** How a command's handler has other commands run: after its commit, at a time, again and again. */
export function sending(ids: Ids, target: Target, call: CallInfo, work: UnitOfWork) {
  const context = target.context.contract.name;
  const message = (contract: Contract, name: string, input: unknown): SentCommand => {
    const id = `${contract.name}.${name}`;
    return {
      id: ids.next("cmd"),
      tenant: call.principal.tenant,
      context,
      operation: id,
      input: parse(sendable(target, contract, name).input, input, `The input of ${id}`) as JsonObject,
      time: toInstant(call.startedAt),
      actor: call.principal.actor,
      onBehalfOf: call.principal.onBehalfOf,
      limitedTo: call.principal.limitedTo,
      credential: call.principal.credential,
      correlationId: call.correlationId,
      causationId: call.causationId,
      traceparent: call.trace.traceparent,
    };
  };
  return {
    send: (contract: Contract, name: string, input: unknown, delay?: Delay): string => {
      const command = message(contract, name, input);
      if (delay === undefined) work.send(context, command);
      else
        work.timer(context, {
          step: "set",
          timer: { key: command.id, dueAt: dueTime(delay, call.startedAt), command },
        });
      return command.id;
    },
    schedule: (key: string, contract: Contract, name: string, input: unknown, options: RecurrenceOptions): void => {
      const command = message(contract, name, input);
      const timer = { key: parse(recurringKey, key, "The key"), ...firstOccurrence(options, call.startedAt), command };
      work.timer(context, { step: "set", timer });
    },
    unschedule: (key: string, { required = false }: { readonly required?: boolean } = {}): void =>
      work.timer(context, { step: "remove", key, required }),
  };
}

function sendable(target: Target, contract: Contract, name: string) {
  declared(target, contract);
  const operation = contract.operations[name];
  if (operation?.kind === "command" || (operation?.kind === "action" && operation.repeatable === true))
    return operation;
  throw new TypeError(
    `${target.id} sends "${contract.name}.${name}", which is neither a command nor a repeatable action.`,
  );
}
