import { VersionConflict } from "../kernel/errors.ts";
import type { CommitPart, CommitResult } from "../kernel/store.ts";
import type { Target } from "./begin-call.ts";
import { checkAlive } from "./call.ts";
import type { CallInfo } from "./call-info.ts";
import type { CallPorts } from "./runtime-ports.ts";
import { Turns } from "./turns.ts";
import { UnitOfWork } from "./unit-of-work.ts";

/** How often a command that lost a race is run again before the caller hears of it. */
const MAX_RERUNS = 20;

/**
 * Handles and commits; a lost race begins again with fresh aggregates. Who has lost takes turns with the others of this
 * process who lost the same aggregate: many callers of one aggregate then cost two runs each, not a crowd's worth.
 */
export class Commits {
  readonly #ports: CallPorts;
  readonly #reruns: boolean;
  readonly #turns = new Turns();

  /** @param reruns false where the calls share a transaction of the host's: what loses a race there has lost it */
  constructor(ports: CallPorts, reruns: boolean) {
    this.#ports = ports;
    this.#reruns = reruns;
  }

  async run(target: Target, call: CallInfo, handle: (work: UnitOfWork) => Promise<void>): Promise<CommitResult> {
    const { ids, clock } = this.#ports;
    let endTurn: (() => void) | undefined;
    try {
      for (let run = 1; ; run += 1) {
        try {
          return await this.#once(target, call, handle);
        } catch (error) {
          if (!(error instanceof VersionConflict) || run >= MAX_RERUNS || !this.#reruns) throw error;
          if (endTurn === undefined) {
            const { type, id } = error.details;
            endTurn = await this.#turns.take(`${call.principal.tenant} ${type}/${id}`);
            // One that is given up and does not end keeps nobody waiting.
            call.signal.addEventListener("abort", endTurn, { once: true });
            checkAlive(call, target.id, clock.now());
          } else {
            // Another process is in the way.
            const jitter = ids.random(1)[0]! / 256;
            await clock.sleep(Math.min(200, 2 ** run) * jitter, call.signal);
          }
        }
      }
    } finally {
      endTurn?.();
    }
  }

  async #once(target: Target, call: CallInfo, handle: (work: UnitOfWork) => Promise<void>): Promise<CommitResult> {
    const { store, ids, clock, lifecycle, telemetry } = this.#ports;
    const { tenant } = call.principal;
    const work = new UnitOfWork(store, ids, call);
    await handle(work);
    checkAlive(call, target.id, clock.now());
    const commit = work.toCommit();
    const result = await telemetry.commit(store, tenant, commit);
    if (result.status === "committed")
      lifecycle.emit("committed", {
        tenant,
        contexts: commit.parts.map((part) => part.context),
        aggregates: commit.parts.flatMap((part) => part.aggregates.flatMap(({ id, write }) => (write ? [id] : []))),
        ...earliestDue(commit.parts),
        ...executionsOf(commit.parts),
      });
    return result;
  }
}

function earliestDue(parts: readonly CommitPart[]): { readonly dueAt?: number } {
  const set = parts.flatMap(({ timers = [] }) =>
    timers.flatMap((change) => (change.step === "set" ? [change.timer.dueAt] : [])),
  );
  return set.length === 0 ? {} : { dueAt: Math.min(...set) };
}

/** Contexts whose executions have something new to hear of. */
function executionsOf(parts: readonly CommitPart[]): { readonly executions?: readonly string[] } {
  const told = parts.filter(({ executions = [] }) => executions.some(({ step }) => step !== "write"));
  return told.length === 0 ? {} : { executions: told.map(({ context }) => context) };
}
