import {
  remoteCancel,
  remoteEvents,
  remoteHealth,
  remoteProblem,
  remoteRun,
} from "../packages/core/src/contexts/agents/remote-protocol.ts";
import { type JsonObject, jsonSchema, type Schema } from "../packages/core/src/kernel/schema.ts";

/** What a remote agent answers, as OpenAPI, of the schemas that read its answers. */
export function remoteAgentsOpenApi(): string {
  const ref = (name: string) => ({ $ref: `#/components/schemas/${name}` });
  const json = (name: string) => ({ content: { "application/json": { schema: ref(name) } } });
  const refused = { description: "A refusal. 429 and 5xx are tried again, the others are not.", ...problem(ref) };
  const id = { name: "id", in: "path", required: true, schema: { type: "string" } };
  const events = Object.keys(remoteEvents).map((type) => `\`${type}\` (${eventName(type)})`);
  const document = {
    openapi: "3.1.0",
    info: {
      title: "Remote agents",
      version: "1",
      description: "What an agent that runs elsewhere has to answer. docs/guides/remote-agents.md says more.",
    },
    security: [{ principalToken: [] }],
    paths: {
      "/runs/{id}": {
        put: {
          operationId: "run",
          summary: "Starts a run, or goes on with its events. The same id is the same run, however often it is sent.",
          parameters: [
            id,
            {
              name: "Last-Event-ID",
              in: "header",
              schema: { type: "integer", minimum: 1 },
              description: "The last event that was received: what comes is behind it.",
            },
          ],
          requestBody: { required: true, ...json("Run") },
          responses: {
            200: {
              description: `Events until the run has ended or the connection does. The type says what the data is: ${events.join(", ")}. The id is a whole number that grows by one.`,
              content: { "text/event-stream": { schema: { type: "string" } } },
            },
            default: refused,
          },
        },
      },
      "/runs/{id}/cancel": {
        post: {
          operationId: "cancel",
          summary: "Nobody waits for the run any more. Sent again until it is answered; a run that is unknown is fine.",
          parameters: [id],
          requestBody: { required: true, ...json("Cancel") },
          responses: { 204: { description: "Heard." }, default: refused },
        },
      },
      "/health": {
        get: {
          operationId: "health",
          summary: "Whether runs are taken.",
          security: [],
          responses: {
            200: { description: "They are.", ...json("Health") },
            default: { description: "They are not." },
          },
        },
      },
    },
    components: {
      securitySchemes: { principalToken: { type: "http", scheme: "bearer", bearerFormat: "JWT" } },
      schemas: {
        Run: described("Run", remoteRun),
        ...Object.fromEntries(
          Object.entries(remoteEvents).map(([type, schema]) => [eventName(type), described(eventName(type), schema)]),
        ),
        Cancel: described("Cancel", remoteCancel),
        Health: described("Health", remoteHealth),
        Problem: described("Problem", remoteProblem),
      },
    },
  };
  return `${JSON.stringify(document, null, 2)}\n`;
}

const problem = (ref: (name: string) => object) => ({
  content: { "application/problem+json": { schema: ref("Problem") } },
});

function eventName(type: string): string {
  return `${type.slice(0, 1).toUpperCase()}${type.slice(1)}Event`;
}

/** With an id of its own, so that what it refers to is looked for in it. */
function described(name: string, schema: unknown): JsonObject {
  const { $schema: _, ...rest } = jsonSchema(schema as Schema, "input");
  return { $id: `urn:armature:remote-agent:${name}`, ...rest };
}
