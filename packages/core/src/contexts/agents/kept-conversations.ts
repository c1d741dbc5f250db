import type { ModelMessage } from "../../kernel/model-messages.ts";

/** What a run's model call is made of, beside what it has said since. */
export interface KeptConversation {
  readonly agent: string;
  readonly version: number;
  readonly messages: readonly ModelMessage[];
  /** Tools of which a summary among them covers results. */
  readonly tools: readonly string[];
  /** Where the run's messages stand in the conversation, and how many there are. */
  readonly order: string;
  readonly said: number;
  /** Given where the run begins: the conversation that it begins too. */
  readonly begun?: string | undefined;
  /** Runs whose followers see what it answers. */
  readonly shownTo: readonly string[];
  /** Of the messages, in characters of JSON. Absent: it is not known yet. */
  readonly size?: number | undefined;
}

interface Entry {
  readonly step: number;
  /** When the results were there that it ends with; undefined where it was read. */
  readonly at: number | undefined;
  readonly conversation: KeptConversation;
}

const MOST = 256;
/** Size of one. A longer conversation is read anew for each step. */
const LARGEST = 131_072;

/**
 * What runs of this process have last asked their models, so that the next step need not read it again. A conversation
 * is only ever added to, and what a run adds stands in its journal, so that it can be seen whether what is kept is what
 * was said: what is not is read.
 */
export class KeptConversations {
  /** By tenant and run; who was used last stands last. */
  readonly #entries = new Map<string, Entry>();

  /**
   * What the run's last step asked, and what has been said since; undefined when that is not kept.
   *
   * @param priorAt when the results of the last but one were there, as the journal has it: of results that are not written
   * down, another process may have found others
   * @param begun of a run's first step: the conversation that it has begun. What another attempt to begin it would have
   * said is not taken for it.
   */
  next(
    tenant: string,
    runId: string,
    step: number,
    {
      said = [],
      begun,
      priorAt,
    }: {
      readonly said?: readonly ModelMessage[] | undefined;
      readonly begun?: string | undefined;
      readonly priorAt?: number | undefined;
    },
  ): KeptConversation | undefined {
    const entry = this.#entries.get(keyOf(tenant, runId));
    if (entry?.step !== step - 1 || entry.at !== priorAt || (step === 1 && entry.conversation.begun !== begun))
      return undefined;
    const { conversation } = entry;
    return {
      ...conversation,
      messages: [...conversation.messages, ...said],
      said: conversation.said + said.length,
      size: (conversation.size ?? 0) + sizeOf(said),
    };
  }

  /** What the run's model was asked in this step, or is to be asked first where it is step 0. */
  keep(tenant: string, runId: string, step: number, conversation: KeptConversation, at?: number): void {
    const key = keyOf(tenant, runId);
    this.#entries.delete(key);
    const { size = sizeOf(conversation.messages) } = conversation;
    if (size > LARGEST) return;
    this.#entries.set(key, { step, at, conversation: { ...conversation, size } });
    const [oldest] = this.#entries.keys();
    if (this.#entries.size > MOST) this.#entries.delete(oldest!);
  }

  /** The run has come to its end. */
  drop(tenant: string, runId: string): void {
    this.#entries.delete(keyOf(tenant, runId));
  }
}

function keyOf(tenant: string, runId: string): string {
  return `${tenant} ${runId}`;
}

function sizeOf(messages: readonly ModelMessage[]): number {
  return JSON.stringify(messages).length;
}
