import { VersionConflict } from "../kernel/errors.ts";
import type { AggregateRef, Commit, CommitPart, CommitResult } from "../kernel/store.ts";
import type { Target } from "./begin-call.ts";
import { checkAlive } from "./call.ts";
import type { CallInfo } from "./call-info.ts";
import { RecentAggregates } from "./recent-aggregates.ts";
import type { CallPorts } from "./runtime-ports.ts";
import { type Turn, Turns } from "./turns.ts";
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
  readonly #recent = new RecentAggregates();

  /** @param reruns false where the calls share a transaction of the host's: what loses a race there has lost it */
  constructor(ports: CallPorts, reruns: boolean) {
    this.#ports = ports;
    this.#reruns = reruns;
  }

  async run(target: Target, call: CallInfo, handle: (work: UnitOfWork) => Promise<void>): Promise<CommitResult> {
    const { ids, clock } = this.#ports;
    let turn: Turn | undefined;
    let inTheWay = 0;
    // The worker that holds an execution is mostly the only one who changes what belongs to it.
    let recent = call.join === undefined || !this.#reruns ? undefined : this.#recent;
    try {
      for (let run = 1; ; run += 1) {
        try {
          return await this.#once(target, call, handle, recent);
        } catch (error) {
          recent = undefined;
          if (error instanceof Doubtful) continue;
          if (!(error instanceof VersionConflict) || run >= MAX_RERUNS || !this.#reruns) throw error;
          if (turn === undefined) {
            turn = await this.#turns.take(wanted(call.principal.tenant, error.details));
            // One that is given up and does not end keeps nobody waiting.
            call.signal.addEventListener("abort", turn.end, { once: true });
            checkAlive(call, target.id, clock.now());
            continue;
          }
          // Callers of this process who do not know yet that there are turns come through, and are soon in turn too.
          inTheWay = turn.overtaken() ? 0 : inTheWay + 1;
          if (inTheWay > 1) {
            // Another process is in the way.
            const jitter = ids.random(1)[0]! / 256;
            await clock.sleep(Math.min(200, 2 ** run) * jitter, call.signal);
          }
        }
      }
    } finally {
      turn?.end();
    }
  }

  /** @throws {Doubtful} it was refused on account of what is remembered, which may be wrong */
  async #once(
    target: Target,
    call: CallInfo,
    handle: (work: UnitOfWork) => Promise<void>,
    recent: RecentAggregates | undefined,
  ): Promise<CommitResult> {
    const { store, ids, clock, lifecycle, telemetry } = this.#ports;
    const { tenant } = call.principal;
    const work = new UnitOfWork(store, ids, call, recent);
    let commit: Commit | undefined;
    let result: CommitResult;
    try {
      await handle(work);
      checkAlive(call, target.id, clock.now());
      commit = work.toCommit();
      result = await telemetry.commit(store, tenant, commit);
    } catch (error) {
      if (call.join === undefined) throw error;
      const { touched } = work;
      this.#recent.failed(touched, error instanceof VersionConflict ? error.details : undefined, clock.now());
      const doubtful = commit === undefined && work.recalled;
      if (doubtful && !call.patience.over) throw new Doubtful();
      throw error;
    }
    if (result.status !== "committed") {
      if (call.join !== undefined) this.#recent.failed(work.touched, undefined, clock.now());
    } else {
      // What an execution's command makes, messages for one, seldom has anybody load it. What begins one makes what it
      // is about.
      const begins = commit.parts.some(startsExecution);
      const kept = begins || call.join !== undefined ? work.touched.filter(({ made }) => begins || !made) : [];
      this.#recent.committed(tenant, commit.parts, kept, clock.now());
      if (!this.#turns.isEmpty)
        for (const { aggregates } of commit.parts)
          for (const { write, ...ref } of aggregates) if (write !== undefined) this.#turns.had(wanted(tenant, ref));
      lifecycle.emit("committed", {
        tenant,
        contexts: commit.parts.map((part) => part.context),
        aggregates: commit.parts.flatMap((part) => part.aggregates.flatMap(({ id, write }) => (write ? [id] : []))),
        ...earliestDue(commit.parts),
        ...executionsOf(commit.parts),
      });
    }
    return result;
  }
}

/** What takes turns. */
function wanted(tenant: string, { type, id }: Pick<AggregateRef, "type" | "id">): string {
  return `${tenant} ${type}/${id}`;
}

function startsExecution({ executions = [] }: CommitPart): boolean {
  return executions.some(({ step }) => step === "start");
}

/** Something was refused that would perhaps not have been, had it not been decided on what is only remembered. */
class Doubtful extends Error {}

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
