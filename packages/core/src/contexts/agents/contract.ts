import { z } from "zod";
import { action, command, defineContract, query, stream } from "../../kernel/contract.ts";
import { defineError } from "../../kernel/errors.ts";
import { defineEvent } from "../../kernel/event.ts";
import { json } from "../../kernel/json.ts";
import { assistantPart, filePart, textPart, toolResultPart } from "../../kernel/model-messages.ts";
import { modelUsage } from "../../kernel/model-turn.ts";
import { pageOf, paging } from "../../kernel/paging.ts";
import { sensitive } from "../../kernel/sensitive.ts";

const at = z.iso.datetime();
const agentId = z
  .string()
  .regex(
    /^(?:[a-z][a-z0-9-]{0,62}|agt_[0-9a-z]{1,60})$/,
    'must be lower-case letters, digits and hyphens, or begin with "agt_"',
  );
/** One that a tenant has made. */
const ownAgentId = z.templateLiteral(["agt_", z.string().regex(/^[0-9a-z]{1,60}$/)]);
export const runId = z.templateLiteral(["run_", z.string().regex(/^[0-9A-Za-z_-]{1,100}$/)]);
export const conversationId = z.templateLiteral(["cnv_", z.string().regex(/^[0-9A-Za-z_-]{1,100}$/)]);
const approvalId = z.templateLiteral(["apr_", z.string()]);
const name = z.string().min(1).max(100);

export const runStatus = z.enum(["running", "suspended", "completed", "failed", "canceled"]);
export const party = z.strictObject({ type: z.enum(["user", "service"]), id: z.string() });
const cause = z.strictObject({ code: z.string(), message: z.string() });

/** The connections of a tenant that a run uses, by provider. */
export const connectionsOfRun = z.record(z.string().max(100), z.templateLiteral(["con_", z.string()]));

/** What a run has used so far. */
export const runUsage = z.strictObject({
  /** Answers of models. */
  steps: z.int(),
  toolCalls: z.int(),
  inputTokens: z.int(),
  outputTokens: z.int(),
  /** Billionths of the currency's unit. */
  nanos: z.int(),
  currency: z.string().optional(),
  /** Steps of which it is not known what they cost. */
  stepsWithoutCost: z.int(),
});
export type RunUsage = z.infer<typeof runUsage>;

// More than any run comes to: sums of it can still be counted.
const told = z.int().min(0).max(1_000_000_000_000);
/** What a remote agent says that it has used: totals of the whole run so far, not what was added. */
export const remoteUsage = z.object({
  /** Calls of models. */
  steps: told,
  toolCalls: told.optional(),
  inputTokens: told,
  outputTokens: told,
  /** Billionths of the currency in which the host keeps its prices. */
  nanos: z.int().min(0).max(1_000_000_000_000_000).optional(),
});
export type RemoteUsage = z.infer<typeof remoteUsage>;

const about = { runId, agent: z.string(), agentVersion: z.int(), conversationId, at };

/** A run has begun. */
export const AgentRunStarted = defineEvent("agent.run_started", {
  version: 1,
  data: z.strictObject({ ...about, onBehalfOf: party, parent: runId.optional() }),
});
/** A model has answered. */
export const AgentStepTaken = defineEvent("agent.step_taken", {
  version: 1,
  data: z.strictObject({
    ...about,
    step: z.int(),
    model: z.string(),
    inputTokens: z.int(),
    outputTokens: z.int(),
    nanos: z.int().optional(),
    currency: z.string().optional(),
    /** Names of the tools that it asks for. */
    tools: z.array(z.string()),
  }),
});
/** Tools were run, or refused. */
export const AgentToolsRun = defineEvent("agent.tools_run", {
  version: 1,
  data: z.strictObject({
    ...about,
    step: z.int(),
    tools: z.array(z.strictObject({ name: z.string(), outcome: z.enum(["ok", "error"]) })),
  }),
});
/** A remote agent has told of what it does. */
export const AgentProgressed = defineEvent("agent.progressed", {
  version: 1,
  data: z.strictObject({
    ...about,
    /** All that the run has used so far. */
    usage: runUsage,
    /** How many messages it has added. */
    messages: z.int(),
  }),
});
/** A run waits for people to approve what it wants to do, or what a run that it has delegated to wants to do. */
export const AgentRunSuspended = defineEvent("agent.run_suspended", {
  version: 1,
  data: z.strictObject({
    ...about,
    approvals: z.array(approvalId),
    /** The delegated run that waits; absent when it is this one. */
    waitingRun: runId.optional(),
  }),
});
/** What a delegated run has waited for is decided. */
export const AgentRunResumed = defineEvent("agent.run_resumed", {
  version: 1,
  data: z.strictObject({ ...about, waitingRun: runId }),
});
/** A run has another agent work for it, or hands its conversation over. */
export const AgentRunDelegated = defineEvent("agent.run_delegated", {
  version: 1,
  data: z.strictObject({ ...about, delegatedRun: runId, delegatedAgent: z.string(), handoff: z.boolean() }),
});
/** A delegated run has come to its end. */
export const AgentDelegationEnded = defineEvent("agent.delegation_ended", {
  version: 1,
  data: z.strictObject({ ...about, delegatedRun: runId, status: runStatus, usage: runUsage }),
});
/** A run has come to its end. */
export const AgentExecuted = defineEvent("agent.executed", {
  version: 1,
  data: z.strictObject({ ...about, usage: runUsage }),
});
export const AgentRunFailed = defineEvent("agent.run_failed", {
  version: 1,
  data: z.strictObject({ ...about, usage: runUsage, code: z.string() }),
});
export const AgentRunCanceled = defineEvent("agent.run_canceled", {
  version: 1,
  data: z.strictObject({ ...about, usage: runUsage }),
});
/** A conversation was begun. */
export const ConversationStarted = defineEvent("conversation.started", {
  version: 1,
  data: z.strictObject({ conversationId, agent: z.string(), startedBy: party, at }),
});
/** Another agent answers in a conversation from here on. */
export const ConversationHandedOver = defineEvent("conversation.handed_over", {
  version: 1,
  data: z.strictObject({ conversationId, from: z.string(), to: z.string(), runId, at }),
});
/** Older messages have a summary in their place when a model reads them. */
export const ConversationSummarized = defineEvent("conversation.summarized", {
  version: 1,
  data: z.strictObject({
    conversationId,
    runId,
    /** How many, an earlier summary among them. */
    messages: z.int(),
    /** False where the model could not be asked: they are left out then. */
    byModel: z.boolean(),
    at,
  }),
});
/** A message was added; what it says stands in the conversation alone. */
export const MessageAdded = defineEvent("conversation.message_added", {
  version: 1,
  data: z.strictObject({
    messageId: z.string(),
    conversationId,
    runId,
    role: z.enum(["user", "assistant", "tool"]),
    at,
  }),
});
/** A tenant has changed what an agent may do for it. */
export const AgentPaused = defineEvent("agent.paused", { version: 1, data: z.strictObject({ agent: z.string(), at }) });
export const AgentActivated = defineEvent("agent.activated", {
  version: 1,
  data: z.strictObject({ agent: z.string(), at }),
});
export const AgentRetired = defineEvent("agent.retired", {
  version: 1,
  data: z.strictObject({ agent: z.string(), at }),
});
const ownAgentTold = z.strictObject({
  agent: ownAgentId,
  version: z.int(),
  /** Empty: the host's first. */
  models: z.array(z.string()),
  tools: z.array(z.string()),
  capabilities: z.array(z.string()),
  taskTypes: z.array(z.string()),
  at,
});
/** A tenant has made an agent. What it is told stands in its version alone. */
export const AgentCreated = defineEvent("agent.created", { version: 1, data: ownAgentTold });
/** A tenant has given its agent a new version. */
export const AgentUpdated = defineEvent("agent.updated", { version: 1, data: ownAgentTold });
/** A version of a tenant's agent was written down. */
export const AgentVersionWritten = defineEvent("agent.version_written", {
  version: 1,
  data: z.strictObject({ agent: ownAgentId, version: z.int(), at }),
});
/** A tenant has set what its runs may use. */
export const BudgetSet = defineEvent("agent.budget_set", {
  version: 1,
  data: z.strictObject({
    budget: z.string(),
    tokens: z.int().optional(),
    nanos: z.int().optional(),
    steps: z.int().optional(),
    at,
  }),
});
const amount = { tokens: z.int(), nanos: z.int(), steps: z.int() };
/** A run keeps so much of a budget for its next step. */
export const BudgetReserved = defineEvent("agent.budget_reserved", {
  version: 1,
  data: z.strictObject({ budget: z.string(), runId, ...amount }),
});
/** A run has used so much of what it kept, and gives back the rest. */
export const BudgetSettled = defineEvent("agent.budget_settled", {
  version: 1,
  data: z.strictObject({ budget: z.string(), runId, ...amount }),
});
/** A run was stopped, because its next step could have taken more than is left. */
export const BudgetExhausted = defineEvent("agent.budget_exhausted", {
  version: 1,
  data: z.strictObject({ budget: z.string(), runId, at }),
});

/** The agent does nothing for this tenant: it is paused, or retired. */
export class AgentNotActive extends defineError("agent.not_active", {
  kind: "precondition",
  details: z.object({ agent: z.string(), status: z.string() }),
  message: ({ agent, status }) => `The agent "${agent}" is ${status}.`,
}) {}
/** No agent fits what was asked for. */
export class NoAgentFits extends defineError("agent.none_fits", {
  kind: "not-found",
  details: z.object({ asked: z.string() }),
  message: ({ asked }) => `No active agent fits ${asked}.`,
}) {}
/** The run has ended. */
export class AgentRunNotUnderWay extends defineError("agent.run_not_under_way", {
  kind: "precondition",
  details: z.object({ runId: z.string(), status: z.string() }),
  message: ({ runId: id, status }) => `The run "${id}" is not under way: it is ${status}.`,
}) {}
/** A run may not go further: its own limits, or its tenant's budget. */
export class AgentLimitReached extends defineError("agent.limit_reached", {
  kind: "exhausted",
  details: z.object({ runId: z.string(), limit: z.string() }),
  message: ({ runId: id, limit }) => `The run "${id}" was stopped: its limit of ${limit} is reached.`,
}) {}
/** An agent works for a person or a service account: what it may do is what they may. */
export class NobodyToActFor extends defineError("agent.nobody_to_act_for", {
  kind: "forbidden",
  details: z.object({ agent: z.string() }),
  message: ({ agent }) => `The agent "${agent}" can only be run for a user or a service account.`,
}) {}
/** A run was delegated to, by a run that was delegated to, and so on, as far as that may go. */
export class DelegationTooDeep extends defineError("agent.delegation_too_deep", {
  kind: "exhausted",
  details: z.object({ runId: z.string(), agent: z.string() }),
  message: ({ runId: id, agent }) => `The run "${id}" may not delegate to "${agent}": it is too deep itself.`,
}) {}
/** The agent to which a conversation was handed over has not come to an answer. */
export class HandoffFailed extends defineError("agent.handoff_failed", {
  kind: "precondition",
  details: z.object({ runId: z.string(), code: z.string(), message: z.string() }),
  message: ({ runId: id, code, message }) =>
    `The run "${id}", which the conversation was handed over to, has ended with "${code}": ${message}`,
}) {}
/** An id was used before for another run. */
export class AgentRunRequestedOtherwise extends defineError("agent.run_requested_otherwise", {
  kind: "conflict",
  details: z.object({ runId: z.string() }),
  message: ({ runId: id }) => `The run "${id}" was started before, with another input.`,
}) {}

/** A tool needs a connection to a provider, and which one is not clear. */
export class ConnectionUnclear extends defineError("agent.connection_unclear", {
  kind: "precondition",
  details: z.object({ provider: z.string(), connections: z.int() }),
  message: ({ provider, connections }) =>
    connections === 0
      ? `There is no connection to "${provider}".`
      : `There are several connections to "${provider}": the run has to name one.`,
}) {}

/** The host does not let tenants make agents. */
export class AgentsNotOffered extends defineError("agent.not_offered", {
  kind: "precondition",
  details: z.object({}),
  message: () => "Tenants cannot make agents here.",
}) {}
/** An agent of a tenant asks for what the host does not offer. */
export class AgentBeyondOffer extends defineError("agent.beyond_offer", {
  kind: "invalid",
  details: z.object({ what: z.string(), names: z.array(z.string()) }),
  message: ({ what, names }) => `These ${what} are not offered: ${names.join(", ")}.`,
}) {}
/** A tenant has as many agents as it may have. */
export class TooManyAgents extends defineError("agent.too_many", {
  kind: "exhausted",
  details: z.object({ most: z.int() }),
  message: ({ most }) => `There are ${most} agents already: retire one.`,
}) {}

const MOST_FILE_BYTES = 20 * 1024 * 1024;
const inputFile = filePart.refine(
  ({ source }) => source.type !== "base64" || source.base64.length <= Math.ceil(MOST_FILE_BYTES / 3) * 4,
  { path: ["source", "base64"], message: "must be at most 20 MiB" },
);
const runInput = z.union([
  z.string().min(1).max(200_000),
  z
    .array(z.discriminatedUnion("type", [textPart, inputFile]))
    .min(1)
    .max(50),
]);
export type RunInput = z.infer<typeof runInput>;

const runView = z.object({
  runId,
  agent: z.string(),
  agentVersion: z.int(),
  conversationId,
  status: runStatus,
  onBehalfOf: party,
  startedAt: at,
  endedAt: at.optional(),
  usage: runUsage,
  /** What runs that it has delegated to have used, those that have ended. */
  delegatedUsage: runUsage,
  /** The run that has delegated to it. */
  parent: runId.optional(),
  /** Runs that it waits for. */
  delegated: z.array(runId),
  /** What waits to be approved, in delegated runs too. */
  approvals: z.array(approvalId),
  /** Its answer, once it has completed. */
  text: z.string().optional(),
  /** The same as JSON, where the agent declares a shape. */
  output: json.optional(),
  error: cause.optional(),
});
export type AgentRunView = z.infer<typeof runView>;

const messageView = z.object({
  messageId: z.string(),
  runId,
  role: z.enum(["user", "assistant", "tool"]),
  content: z.array(z.union([textPart, filePart, assistantPart, toolResultPart])),
  at,
});
export type MessageView = z.infer<typeof messageView>;

const answerDelta = z.object({
  /** The message that it will be part of. */
  messageId: z.string(),
  /** Another attempt begins anew: what came of the one before is void. */
  attempt: z.string(),
  /** Where in the answer's text it stands, in UTF-16 code units. After a gap the message tells what is missing. */
  offset: z.int(),
  text: z.string(),
});
/** A piece of an answer that is being written. */
export type AnswerDelta = z.infer<typeof answerDelta>;

const followed = z.discriminatedUnion("type", [
  z.object({ type: z.literal("message"), message: messageView }),
  z.object({ type: z.literal("status"), run: runView }),
  answerDelta.extend({ type: z.literal("delta") }),
]);
/** What a follower of a run sees. */
export type Followed = z.infer<typeof followed>;

export const agentStatus = z.enum(["draft", "active", "paused", "retired"]);
const ownLimit = z.int().min(1).optional();
const ownAgentFields = {
  /** One sentence, for who looks at the list. */
  summary: z.string().min(1).max(500),
  /** Names of the host's models, in the order in which they are asked; the host's first when absent. */
  models: z.array(name).min(1).max(10).optional(),
  /** From which risk on a person has to approve a tool call; as the host says when absent. */
  approvalFrom: z.enum(["write", "irreversible", "never"]).optional(),
};
const ownLimits = z.strictObject({
  ...{ steps: ownLimit, tokens: ownLimit, nanos: ownLimit, outputTokens: ownLimit },
  ...{ contextTokens: ownLimit, parallelTools: ownLimit, toolTimeoutMs: ownLimit, depth: ownLimit },
});
const names = z.array(name).max(200);
/** A version of an agent that a tenant has made. */
export const ownAgent = z.strictObject({
  ...ownAgentFields,
  instructions: z.string(),
  /** Names of tools that the host offers. */
  tools: names,
  capabilities: names,
  taskTypes: names,
  limits: ownLimits,
});
export type OwnAgent = z.infer<typeof ownAgent>;
const ownAgentInput = {
  ...ownAgentFields,
  instructions: sensitive(z.string().min(1).max(100_000)),
  tools: names.default([]),
  capabilities: names.default([]),
  taskTypes: names.default([]),
  limits: ownLimits.default({}),
};
const writtenVersion = z.object({ agent: ownAgentId, version: z.int() });

const agentView = z.object({
  agent: z.string(),
  version: z.int(),
  summary: z.string(),
  status: agentStatus,
  capabilities: z.array(z.string()),
  taskTypes: z.array(z.string()),
  /** Whether it runs elsewhere. */
  remote: z.boolean(),
  tools: z.array(z.object({ name: z.string(), description: z.string(), risk: z.string(), approval: z.boolean() })),
});
const budgetName = z
  .string()
  .regex(/^(tenant|agent\.(?:[a-z][a-z0-9-]{0,62}|agt_[0-9a-z]{1,60}))$/, 'must be "tenant", or "agent." and its id');
const budgetLimits = {
  tokens: z.int().min(0).optional(),
  nanos: z.int().min(0).optional(),
  steps: z.int().min(0).optional(),
};
const byAgent = z.strictObject({ agent: agentId });

/** What stands in the place of older messages from a step on. */
export const conversationSummary = z.strictObject({
  through: z.string(),
  text: z.string(),
  tools: z.array(z.string()),
  messages: z.int(),
  byModel: z.boolean(),
});
const turnContent = z.array(assistantPart);
/** Another agent, which works on a tool call or takes the conversation over. */
export const delegate = z.strictObject({ agent: z.string(), handoff: z.boolean() });
const manner = { delegate: delegate.optional(), repeatable: z.boolean().optional() };
/** What is to become of a tool call. */
export const toolDecision = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("run"), callId: z.string(), ...manner }),
  z.strictObject({ type: z.literal("approval"), callId: z.string(), approvalId, ...manner }),
  z.strictObject({ type: z.literal("refused"), callId: z.string(), reason: z.string() }),
]);
export type ToolDecision = z.infer<typeof toolDecision>;

/** What has come of asking a router. */
export const routed = z.object({
  handedTo: runId.optional(),
  stop: z.string().optional(),
  refused: cause.optional(),
});

/** What a model has answered in a step. */
export const stepAnswer = z.strictObject({
  step: z.int(),
  content: sensitive(turnContent),
  usage: modelUsage,
  model: z.string(),
  nanos: z.int().optional(),
  currency: z.string().optional(),
  /** Names of the tools that it could call. */
  offered: z.array(z.string()),
  summary: sensitive(conversationSummary).optional(),
  /** What the tools of the step before came to, where that is not written down yet. */
  results: sensitive(z.array(toolResultPart)).optional(),
});

/** What a run comes to, as its execution tells at its end. */
export const runResult = z.object({
  text: z.string().optional(),
  output: json.optional(),
  /** The last answer, where it is not written down yet. */
  last: stepAnswer.optional(),
});

const contract = defineContract(
  "agents",
  {
    list: query({
      input: z.strictObject({ capability: name.optional(), taskType: name.optional() }),
      output: z.array(agentView),
      permission: "agents:read",
      http: "GET /agents",
      summary: "Lists the agents, by what they can do.",
    }),
    describe: query({
      input: z.strictObject({ agent: agentId, version: z.int().min(1).optional() }),
      output: agentView.extend({
        /** What the tenant has said of it; absent where it is the host's. */
        definition: ownAgent.optional(),
      }),
      errors: [AgentsNotOffered, AgentBeyondOffer],
      permission: "agents:read",
      http: "GET /agents/{agent}",
      summary: "Shows an agent, and of one that the tenant has made all of a version.",
    }),
    create: command({
      input: z.strictObject(ownAgentInput),
      output: writtenVersion,
      errors: [AgentsNotOffered, AgentBeyondOffer, TooManyAgents],
      permission: "agents:write",
      http: "POST /agents",
      summary: "Makes an agent for this tenant, of what the host offers. It is a draft until it is activated.",
    }),
    update: command({
      input: z.strictObject({ agent: ownAgentId, ...ownAgentInput }),
      output: writtenVersion,
      errors: [AgentsNotOffered, AgentBeyondOffer, AgentNotActive],
      permission: "agents:write",
      http: "PUT /agents/{agent}",
      summary: "Gives an agent that the tenant has made a new version. Runs that have begun keep to theirs.",
    }),
    run: command({
      input: z.strictObject({
        /**
         * Which agent: its id, something it can do, or what kind of task this is. Without any, the one that answers in
         * the conversation.
         */
        agent: agentId.optional(),
        capability: name.optional(),
        taskType: name.optional(),
        input: sensitive(runInput),
        /** Goes on with a conversation. */
        conversationId: conversationId.optional(),
        /** With the same id and input, the run that there is already. */
        runId: runId.optional(),
        /** Which connection of a provider its tools use, where the tenant has several. */
        connections: connectionsOfRun.optional(),
        /** Whom it works for, where the system calls and for nobody: because of an event from outside, say. */
        onBehalfOf: party.optional(),
        /** For who is about to follow it: its models stream from the first step on. */
        streamed: z.boolean().optional(),
      }),
      output: z.object({ runId, conversationId, agent: z.string() }),
      errors: [AgentNotActive, NoAgentFits, NobodyToActFor, AgentLimitReached, AgentRunRequestedOtherwise],
      permission: "agents:run",
      http: "POST /agents/runs",
      target: "runId",
      summary: "Has an agent work on something for the caller.",
    }),
    get: query({
      input: z.strictObject({ runId }),
      output: runView,
      permission: "agents:read",
      http: "GET /agents/runs/{runId}",
      summary: "Shows a run: what it waits for, what it has used, what it came to.",
    }),
    listRuns: query({
      input: z.strictObject({
        ...paging,
        agent: agentId.optional(),
        status: runStatus.optional(),
        conversationId: conversationId.optional(),
        /** Only runs that this one has delegated to. */
        parent: runId.optional(),
      }),
      output: pageOf(runView),
      permission: "agents:read",
      http: "GET /agents/runs",
      summary: "Lists runs, the newest first; suspended ones with their approvals.",
    }),
    messages: query({
      input: z.strictObject({ ...paging, conversationId }),
      output: pageOf(messageView),
      permission: "agents:read",
      http: "GET /conversations/{conversationId}/messages",
      summary: "Shows a conversation in its order.",
    }),
    follow: stream({
      input: z.strictObject({ runId }),
      output: followed,
      permission: "agents:read",
      http: "GET /agents/runs/{runId}/events",
      summary: "Follows a run until it has ended: its messages and states, and what its model writes meanwhile.",
    }),
    cancel: command({
      input: z.strictObject({ runId, reason: z.string().min(1).max(1_000) }),
      errors: [AgentRunNotUnderWay],
      permission: "agents:run",
      http: "POST /agents/runs/{runId}/cancel",
      summary: "Asks a run to end. What waits to be approved is not run any more.",
    }),
    checkHealth: action({
      input: byAgent,
      output: z.object({
        agent: z.string(),
        status: z.enum(["up", "down"]),
        version: z.string().optional(),
        reason: z.string().optional(),
      }),
      permission: "agents:read",
      http: "POST /agents/{agent}/check-health",
      summary: "Asks an agent that runs elsewhere whether it takes runs; others are up.",
    }),
    pause: command({
      input: byAgent,
      errors: [AgentNotActive],
      permission: "agents:write",
      http: "POST /agents/{agent}/pause",
      summary: "Has an agent begin nothing more for this tenant.",
    }),
    activate: command({
      input: byAgent,
      errors: [AgentNotActive],
      permission: "agents:write",
      http: "POST /agents/{agent}/activate",
      summary: "Has a paused agent, or a draft, work.",
    }),
    retire: command({
      input: byAgent,
      permission: "agents:write",
      http: "POST /agents/{agent}/retire",
      summary: "Ends an agent's work for this tenant, for good.",
    }),
    setBudget: command({
      input: z.strictObject({ budget: budgetName, ...budgetLimits }),
      permission: "agents:write",
      http: "PUT /agents/budgets/{budget}",
      summary: "Sets what all runs of the tenant, or of one agent, may use up. What was used stays used.",
    }),
    budget: query({
      input: z.strictObject({ budget: budgetName }),
      output: z.object({ limits: z.object(budgetLimits), spent: z.object(amount), reserved: z.object(amount) }),
      permission: "agents:read",
      http: "GET /agents/budgets/{budget}",
      summary: "Shows a budget, what was used of it, and what runs keep for their next step.",
    }),
    recordStep: command({
      input: stepAnswer.extend({
        runId,
        /** Whether what its tools come to may be written down with the next step. */
        together: z.boolean().optional(),
      }),
      /** What tools come to may be written down with the next step, where nothing is asked in between. */
      output: z.object({ decisions: z.array(toolDecision), resultsLater: z.boolean() }),
      permission: "internal",
      summary: "Writes down what a model has answered, and decides on the tools that it asks for.",
    }),
    delegate: command({
      input: z.strictObject({
        runId,
        step: z.int(),
        callId: z.string(),
        agent: z.string(),
        arguments: sensitive(z.record(z.string(), json)),
      }),
      output: z.object({ runId }),
      errors: [
        ...[AgentNotActive, AgentLimitReached, AgentRunNotUnderWay, AgentRunRequestedOtherwise, DelegationTooDeep],
      ],
      permission: "internal",
      summary: "Has another agent work on a tool call.",
    }),
    recordRoute: command({
      input: z.strictObject({
        runId,
        candidates: z.array(z.string()),
        /** Absent where the router has not answered. */
        answer: z
          .strictObject({
            agent: z.string(),
            usage: modelUsage,
            model: z.string(),
            nanos: z.int().optional(),
            currency: z.string().optional(),
          })
          .optional(),
      }),
      output: routed,
      permission: "internal",
      summary: "Hands a conversation over to the agent that a router has named.",
    }),
    recordResults: command({
      input: z.strictObject({
        runId,
        step: z.int(),
        results: sensitive(z.array(toolResultPart)),
        /** The call that hands the conversation over, and to whom. */
        handoff: z.strictObject({ callId: z.string(), agent: z.string() }).optional(),
      }),
      output: z.object({ stop: z.string().optional(), handedTo: runId.optional() }),
      permission: "internal",
      summary: "Writes down what tools came to, and keeps budget for the next step.",
    }),
    resume: command({
      input: z.strictObject({ runId }),
      output: z.object({ stop: z.string().optional() }),
      permission: "internal",
      summary: "Looks again, when something was approved, at whether the run may go on.",
    }),
    remoteRun: query({
      input: z.strictObject({ runId }),
      output: z.object({
        ...{ agent: z.string(), version: z.int(), startedAt: at, cursor: z.int() },
        limits: z.object({ steps: z.int(), tokens: z.int(), nanos: z.int().optional() }),
        messages: z.array(json),
      }),
      permission: "internal",
      summary: "What a remote agent is sent, and behind which of its events.",
    }),
    recordRemote: command({
      input: z.strictObject({
        runId,
        cursor: z.int().optional(),
        message: sensitive(z.string()).optional(),
        usage: remoteUsage.optional(),
      }),
      output: z.object({ stop: z.string().optional() }),
      permission: "internal",
      summary: "Writes down what a remote agent has told, and looks at whether it may go on.",
    }),
    ended: command({
      input: z.strictObject({
        executionId: runId,
        status: z.enum(["completed", "failed", "canceled"]),
        result: sensitive(json).optional(),
        error: z.object({ code: z.string(), message: z.string() }).optional(),
        retryable: z.boolean().optional(),
      }),
      permission: "internal",
      summary: "Hears how a run ended.",
    }),
    ownVersion: query({
      input: z.strictObject({ agent: z.string(), version: z.int().optional() }),
      output: z.object({ version: z.int(), definition: ownAgent }),
      permission: "internal",
      summary: "What a tenant's agent is, for who works on one of its runs.",
    }),
    transcript: query({
      input: z.strictObject({
        runId,
        /** What tools came to, where that is not written down yet. */
        results: sensitive(z.array(toolResultPart)).optional(),
      }),
      output: z.object({
        agent: z.string(),
        version: z.int(),
        messages: z.array(json),
        connections: connectionsOfRun,
        tools: z.array(z.string()),
        older: z.object({ count: z.int(), through: z.string() }).optional(),
        /** Where the run's messages stand in the conversation, and how many there are. */
        order: z.string(),
        said: z.int(),
        /** Runs whose followers see the answer. */
        shownTo: z.array(z.string()),
      }),
      permission: "internal",
      summary: "What the run's next model call is made of.",
    }),
  },
  {
    events: [
      ...[AgentRunStarted, AgentStepTaken, AgentToolsRun, AgentRunSuspended, AgentExecuted, AgentRunFailed],
      ...[AgentRunCanceled, ConversationStarted, MessageAdded, AgentPaused, AgentActivated, AgentRetired],
      ...[ConversationSummarized, AgentCreated, AgentUpdated, AgentVersionWritten],
      ...[BudgetSet, BudgetReserved, BudgetSettled, BudgetExhausted],
      ...[AgentProgressed, AgentRunResumed, AgentRunDelegated, AgentDelegationEnded, ConversationHandedOver],
    ],
  },
);

/** Agents that act for people, under their permissions, within limits, and with approval. */
export interface Agents extends Readonly<typeof contract> {}
export const agents: Agents = contract;
