import { createParser, type EventSourceMessage } from "eventsource-parser";
import { type Schema, tryParse } from "../../kernel/schema.ts";
import { RemoteAgentProtocolBroken } from "./remote-errors.ts";
import { LARGEST_EVENT, type RemoteEvent, remoteEvents } from "./remote-protocol.ts";

/**
 * The events of a stream as they come. What it does not know it leaves out.
 *
 * @param alive called with everything that comes, be it a comment
 * @throws {RemoteAgentProtocolBroken} an event does not fit its schema, or is too large
 */
export async function* readEvents(
  agent: string,
  body: AsyncIterable<Uint8Array>,
  alive: () => Promise<void>,
): AsyncGenerator<RemoteEvent, void> {
  const broken = (reason: string) => new RemoteAgentProtocolBroken({ agent, reason });
  const received: EventSourceMessage[] = [];
  let tooLarge = false;
  const parser = createParser({
    maxBufferSize: LARGEST_EVENT,
    onEvent: (event) => received.push(event),
    onError: ({ type }) => {
      tooLarge ||= type === "max-buffer-size-exceeded";
    },
  });
  const text = new TextDecoder();
  for await (const chunk of body) {
    await alive();
    try {
      parser.feed(text.decode(chunk, { stream: true }));
    } catch (error) {
      if (!tooLarge) throw error;
    }
    if (tooLarge) throw broken(`an event has more than ${LARGEST_EVENT} bytes`);
    for (const event of received.splice(0)) {
      const known = readEvent(event, broken);
      if (known !== undefined) yield known;
    }
  }
}

function readEvent(
  { event: type = "", id, data }: EventSourceMessage,
  broken: (reason: string) => RemoteAgentProtocolBroken,
): RemoteEvent | undefined {
  if (!Object.hasOwn(remoteEvents, type)) return undefined;
  const known = type as keyof typeof remoteEvents;
  if (id !== undefined && !/^[1-9]\d{0,14}$/.test(id)) throw broken("the id of an event is no whole number from 1 on");
  // It would be added again with every connection.
  if (id === undefined && known === "message") throw broken('a "message" event has no id');
  let json: unknown;
  try {
    json = JSON.parse(data, (_, value: unknown) => (typeof value === "string" ? storable(value) : value));
  } catch {
    throw broken(`the data of a "${known}" event is not JSON`);
  }
  const parsed = tryParse(remoteEvents[known] as Schema, json);
  if (!parsed.ok) {
    const [{ path, message } = { path: "", message: "" }] = parsed.issues;
    throw broken(`a "${known}" event does not fit: ${path} ${message}`);
  }
  return { type: known, id: id === undefined ? undefined : Number(id), data: parsed.value } as RemoteEvent;
}

/** Not every store holds these characters, and one of them shall not undo what the agent has done. */
function storable(text: string): string {
  return text.replaceAll("\u0000", "").toWellFormed();
}
