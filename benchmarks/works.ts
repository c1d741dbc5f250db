import { agent } from "./agent/agent.ts";
import { bus } from "./bus/bus.ts";
import { call } from "./call/call.ts";
import { command, commit } from "./command/command.ts";
import { dispatch } from "./dispatch/dispatch.ts";
import { growth } from "./growth/growth.ts";
import { http } from "./http/http.ts";
import { idle } from "./idle/idle.ts";
import { imports } from "./import/import.ts";
import { relay } from "./relay/relay.ts";
import type { Work } from "./work.ts";
import { workflow } from "./workflow/workflow.ts";

/** Everything that `pnpm bench` measures, in the order in which it does. */
export const works: readonly Work[] = [
  call,
  command,
  commit,
  relay,
  bus,
  dispatch,
  workflow,
  agent,
  idle,
  http,
  imports,
  growth,
];
