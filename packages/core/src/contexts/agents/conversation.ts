import { z } from "zod";
import { AggregateRoot, defineAggregate, type Withholding } from "../../kernel/aggregate.ts";
import type { Instant } from "../../kernel/clock.ts";
import type { EventOf } from "../../kernel/event.ts";
import { assistantPart, filePart, textPart, toolResultPart } from "../../kernel/model-messages.ts";
import { type AgentRun, placeOf } from "./agent-run.ts";
import { ConversationHandedOver, ConversationStarted, MessageAdded, party } from "./contract.ts";

const conversationState = z.strictObject({ agent: z.string(), startedBy: party, startedAt: z.string() });
type ConversationState = z.infer<typeof conversationState>;
type ConversationEvent = EventOf<typeof ConversationStarted> | EventOf<typeof ConversationHandedOver>;

/** What somebody and an agent say to each other, over one run or many. */
export class Conversation extends AggregateRoot<ConversationState, ConversationEvent> {
  static readonly definition = defineAggregate("conversation", {
    state: conversationState,
    events: [ConversationStarted, ConversationHandedOver],
    index: ["agent", "startedAt"],
  });

  static start(
    id: `cnv_${string}`,
    {
      agent,
      startedBy,
      at,
    }: { readonly agent: string; readonly startedBy: z.infer<typeof party>; readonly at: Instant },
  ): Conversation {
    const conversation = new Conversation(id);
    conversation.raise(ConversationStarted, { conversationId: id, agent, startedBy, at });
    return conversation;
  }

  /** From here on it is another agent's run that answers. */
  handOver(run: AgentRun, at: Instant): void {
    const conversationId = this.id as `cnv_${string}`;
    const runId = run.id as `run_${string}`;
    this.raise(ConversationHandedOver, { conversationId, from: this.state.agent, to: run.state.agent, runId, at });
  }

  protected override evolve(state: ConversationState | undefined, { type, data }: ConversationEvent) {
    if (type === "conversation.handed_over") return { ...state!, agent: data.to };
    return { agent: data.agent, startedBy: data.startedBy, startedAt: data.at };
  }
}

const messageState = z.strictObject({
  conversationId: z.string(),
  runId: z.string(),
  role: z.enum(["user", "assistant", "tool"]),
  content: z.array(z.union([textPart, filePart, assistantPart, toolResultPart])),
  at: z.string(),
  /** Its place in the conversation. */
  order: z.string(),
});
export type MessageState = z.infer<typeof messageState>;
type MessageEvent = Withholding<
  EventOf<typeof MessageAdded>,
  { readonly content: MessageState["content"]; readonly order: string }
>;

/** One message. It is never changed, and its id makes sure that it is there once. */
export class Message extends AggregateRoot<MessageState, MessageEvent> {
  static readonly definition = defineAggregate("message", {
    state: messageState,
    events: [MessageAdded],
    index: ["conversationId", "order"],
  });

  /** @param number its place among the run's messages, from 0 */
  static of(
    run: AgentRun,
    number: number,
    role: MessageState["role"],
    content: MessageState["content"],
    at: Instant,
  ): Message {
    const message = new Message(messageIdOf(run.id, number));
    message.raise(
      MessageAdded,
      {
        messageId: message.id,
        conversationId: run.state.conversationId as `cnv_${string}`,
        runId: run.id as `run_${string}`,
        role,
        at,
      },
      { content, order: placeOf(run.state.order, number) },
    );
    return message;
  }

  protected override evolve(_: MessageState | undefined, { data, withheld }: MessageEvent): MessageState {
    const { conversationId, runId, role, at } = data;
    return { conversationId, runId, role, at, ...withheld };
  }
}

/** The id of a run's message, by its place among them. */
export function messageIdOf(runId: string, number: number): string {
  return `msg_${runId}_${String(number).padStart(6, "0")}`;
}
