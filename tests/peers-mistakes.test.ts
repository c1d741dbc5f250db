import { readFileSync } from "node:fs";
import path from "node:path";
import { describe, expect, test } from "vitest";
import { withoutServer } from "../packages/adapter-postgres/src/fresh-database.ts";
import { agentEvents } from "./scenarios/agent-events.ts";
import { agentMistakes } from "./scenarios/agent-mistakes.ts";
import { apartPlace, inMemoryPlace, pglitePlace, postgresPlace } from "./scenarios/place.ts";

const root = path.dirname(import.meta.dirname);
const places = [inMemoryPlace, apartPlace, pglitePlace, ...((await withoutServer()) ? [] : [postgresPlace])];
for (const kind of places) {
  agentMistakes(kind);
  agentEvents(kind);
}

const AGENTS = "tests/scenarios/agents.ts";
const MISTAKES = "tests/scenarios/agent-mistakes.ts";
const IN_CORE = "packages/core/src/contexts/agents";

/** What went wrong elsewhere, where that is told, and the tests that show that it does not here. */
const LEARNT: readonly {
  readonly mistake: string;
  readonly told: string;
  readonly tests: readonly (readonly [file: string, name: string])[];
}[] = [
  {
    mistake: "the same approval, sent twice or at once, ran its action twice",
    told: "AI SDK, @openai/agents, Mastra and LangGraph, as tried",
    tests: [
      [AGENTS, "an approval that is given 200 times through two processes runs its call once; a rejected one never"],
      ["tests/scenarios/approvals.ts", "200 approvals at once, through two processes, are one"],
    ],
  },
  {
    mistake: "what was rejected ran all the same, and an old approval counted for a newer call",
    told: "mastra#20470, mastra#19633",
    tests: [
      [AGENTS, "an approval that is given 200 times through two processes runs its call once; a rejected one never"],
      [MISTAKES, "an approval of a call that is no more does not count for the next one"],
    ],
  },
  {
    mistake: "a run could not go on after a restart: its snapshot was missing, or too large",
    told: "mastra#19301, mastra#10389, mastra#22413",
    tests: [
      [MISTAKES, "a run of more than 2 MB waits, and goes on in another process"],
      ["tests/agent-kills.test.ts", "tool calls each have one effect, however often its process is killed"],
    ],
  },
  {
    mistake: "somebody read what was another user's",
    told: "mastra#18911, mastra#21863",
    tests: [[MISTAKES, "another tenant's run, conversation or approval is not there, and no call is without a tenant"]],
  },
  {
    mistake: "an approved write ran, its result was never kept, and the conversation was dead",
    told: "vercel/eve#460",
    tests: [
      [`${IN_CORE}/delegation-faults.test.ts`, "wherever a process dies, delegated runs are begun once"],
      ["tests/agent-kills.test.ts", "tool calls each have one effect, however often its process is killed"],
    ],
  },
  {
    mistake: "stopping lost messages, or left calls without a result",
    told: "vercel/ai#7253, vercel/ai#10638",
    tests: [[MISTAKES, "what is stopped halfway has one result for each call, and the conversation goes on"]],
  },
  {
    mistake: "of two calls that waited at once, the answer to one went to the other",
    told: "langgraph#6533",
    tests: [
      [`${IN_CORE}/context.test.ts`, "two gated calls of one step: one is approved and runs once, the other rejected"],
      [AGENTS, "an approval that is given 200 times through two processes runs its call once; a rejected one never"],
    ],
  },
  {
    mistake: "a message between the approval and what followed had the approved call left out",
    told: "vercel/ai#17033",
    tests: [
      [MISTAKES, "a message that is added between an approval and what follows does not keep the call from running"],
    ],
  },
  {
    mistake: "messages were there twice after a restart, and what had been done was done again",
    told: "openai-agents-js#701",
    tests: [
      [AGENTS, "many runs in two processes keep to one budget, and each message is there once"],
      [`${IN_CORE}/delegation-faults.test.ts`, "wherever a process dies, delegated runs are begun once"],
    ],
  },
  {
    mistake:
      "approvals inside nested agents were not to be seen on the first run, and an event delivered twice ran twice",
    told: "as tried with all of them",
    tests: [
      [
        MISTAKES,
        "approvals inside delegated runs show on the first run: one is approved, one rejected, in another process",
      ],
      [
        "tests/scenarios/agent-events.ts",
        "an event begins one run, however often it is delivered and whoever hears it",
      ],
    ],
  },
];

describe("each mistake of the peers has its test", () => {
  test.each(LEARNT)("$mistake ($told)", ({ tests }) => {
    for (const [file, name] of tests) expect(readFileSync(path.join(root, file), "utf8"), file).toContain(name);
  });
});
