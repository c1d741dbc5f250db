import { z } from "zod";
import type { ContextDefinition } from "../../kernel/context.ts";
import { CANCEL_SIGNAL } from "../../kernel/execution.ts";
import type { ExecutionCommands, ExecutionQueries } from "../../kernel/execution-calls.ts";
import type { ExecutionChange } from "../../kernel/executions.ts";
import { parse } from "../../kernel/parse.ts";
import { asParty, type Party, type Principal } from "../../kernel/principal.ts";
import type { Json } from "../../kernel/schema.ts";
import type { RunnableOperation } from "../call.ts";
import type { CallInfo } from "../call-info.ts";
import type { CallPorts } from "../runtime-ports.ts";
import type { UnitOfWork } from "../unit-of-work.ts";
import { type ExecutionRequest, executionMessage } from "./execution-requests.ts";
import { storableJson } from "./storable-json.ts";

// It stands in addresses and in idempotency keys.
const executionId = z
  .string()
  .regex(
    /^[A-Za-z0-9][A-Za-z0-9._:~-]{0,199}$/,
    "must be 1 to 200 letters, digits and . _ : ~ -, and start with a letter or digit",
  );
const signalName = z.string().min(1).max(200);

/** What a command may do with executions of its context. */
export function executionCommands(
  { store, engine, ids }: Pick<CallPorts, "store" | "engine" | "ids">,
  context: ContextDefinition,
  call: CallInfo,
  work: UnitOfWork,
): ExecutionCommands {
  const { name } = context.contract;
  // Part of the commit where the executions lie in its store; else the engine gets it behind the commit.
  const ask = ({ type, ...asked }: ExecutionRequest) => {
    if (engine === undefined) work.join({ context: name, change: { step: type, ...asked } as ExecutionChange });
    else work.send(name, executionMessage(name, call, ids, { type, ...asked } as ExecutionRequest));
  };
  const signal = (id: string, signalName: string, payload: Json) =>
    ask({ type: "signal", id, signal: { name: signalName, payload } });
  return {
    start({ name: definition, version }, id, input, { agent, onBehalfOf } = {}) {
      const known = context.executions.some((each) => each.name === definition && each.version === version);
      if (!known) throw new TypeError(`The context "${name}" has no definition "${definition}" of version ${version}.`);
      ask({
        type: "start",
        execution: {
          id: parse(executionId, id, "The execution's id"),
          definition,
          version,
          input: storableJson(input, "The execution's input") ?? null,
          principal: agent === undefined ? call.principal : agentFor(call.principal, agent, onBehalfOf),
          correlationId: call.correlationId,
          causationId: call.causationId,
          traceparent: call.trace.traceparent,
          startedAt: call.startedAt,
        },
      });
    },
    signal: (id, given, payload) =>
      signal(id, parse(signalName, given, "The signal's name"), storableJson(payload, "The signal's payload") ?? null),
    cancel: (id, reason) => signal(id, CANCEL_SIGNAL, storableJson(reason, "The reason") ?? ""),
    get: (id) => (engine ?? store).execution({ tenant: call.principal.tenant, context: name }, id),
    retry: (id) => ask({ type: "retry", id, at: call.startedAt }),
  };
}

/** What a query may read of them. */
export function executionQueries(
  { store, engine }: Pick<CallPorts, "store" | "engine">,
  { context }: Pick<RunnableOperation, "context">,
  call: CallInfo,
): ExecutionQueries {
  const scope = { tenant: call.principal.tenant, context: context.contract.name };
  return {
    get: (id) => (engine ?? store).execution(scope, id),
    history: (id, { limit = 100, after } = {}) => (engine ?? store).journal(scope, { id, limit, after }),
  };
}

function agentFor(caller: Principal, agent: string, party: Party | undefined): Principal {
  const { tenant, actor, limitedTo } = caller;
  return {
    tenant,
    actor: { type: "agent", id: agent },
    onBehalfOf: caller.onBehalfOf ?? asParty(actor) ?? party,
    limitedTo,
  };
}
