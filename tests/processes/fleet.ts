import { randomBytes, randomInt } from "node:crypto";
import { postgres } from "@armature/adapter-postgres";
import { type Armature, createArmature } from "@armature/core";
import { Pool } from "pg";
import { freshRedis, PrivateRedis } from "../../packages/adapter-redis/src/fresh-redis.ts";
import { Victim } from "../crash/victims.ts";
import { PrivatePostgres } from "./private-postgres.ts";
import { tallyContexts } from "./tally.ts";

export const ROLES = ["writers", "relays", "consumers"] as const;
export type Role = (typeof ROLES)[number];

const OF_EACH = 2;
const PROGRAM = new URL("member.ts", import.meta.url);
const KEY = randomBytes(32).toString("base64");

export type FleetApp = Armature<ReturnType<typeof tallyContexts>>;

/** Processes of each role on a PostgreSQL and a Redis of their own, all of which can be killed and started again. */
export class Fleet {
  readonly #postgres: PrivatePostgres;
  readonly #redis: PrivateRedis;
  readonly #heard: (note: unknown) => void;
  readonly #members: Record<Role, Victim[]> = { writers: [], relays: [], consumers: [] };
  readonly #starting = new Set<Promise<unknown>>();
  /** A sentence for each process that ended and was not killed. */
  readonly fallen: string[] = [];
  #removed = false;

  private constructor(server: PrivatePostgres, redis: PrivateRedis, heard: (note: unknown) => void) {
    this.#postgres = server;
    this.#redis = redis;
    this.#heard = heard;
  }

  /** @param heard each note of a process: `{ consumer, event }` when a consumer begins */
  static async start(heard: (note: unknown) => void): Promise<Fleet> {
    const fleet = new Fleet(await PrivatePostgres.start(), await PrivateRedis.start(), heard);
    try {
      await fleet.asked((app) => app.migrate());
      await Promise.all(ROLES.flatMap((role) => Array.from({ length: OF_EACH }, () => fleet.#begin(role))));
      return fleet;
    } catch (error) {
      await fleet.remove();
      throw error;
    }
  }

  /** One of the role, by chance; undefined while there is none. */
  any(role: Role): Victim | undefined {
    const members = this.#members[role];
    return members[members.length === 0 ? 0 : randomInt(members.length)];
  }

  /** Kills one with -9, once there is another one. Its successor is on its way. */
  async kill(role: Role): Promise<void> {
    const members = this.#members[role];
    while (members.length < OF_EACH) await Promise.all(this.#starting);
    const [victim] = members.splice(randomInt(members.length), 1);
    await victim!.kill();
    this.#track(this.#begin(role));
  }

  async restartPostgres(): Promise<void> {
    await this.#postgres.stopInHaste();
    await this.#postgres.start();
  }

  async restartRedis(): Promise<void> {
    await this.#redis.kill();
    await this.#redis.start();
  }

  async flushRedis(): Promise<void> {
    const { client, close } = await freshRedis(this.#redis.url);
    await client.flushAll();
    await close();
  }

  /** Asks an app of this process' own, which publishes nothing. */
  async asked<T>(ask: (app: FleetApp) => Promise<T>): Promise<T> {
    const pool = new Pool({ connectionString: this.#postgres.url, max: 2 });
    pool.on("error", () => undefined);
    const options = { contexts: tallyContexts(), keyEncryptionKey: KEY, authorizer: () => true, relay: false } as const;
    const app = await createArmature({ store: postgres({ pool }), ...options });
    try {
      return await ask(app);
    } finally {
      await app.close();
      await pool.end();
    }
  }

  async remove(): Promise<void> {
    this.#removed = true;
    await Promise.allSettled(this.#starting);
    await Promise.all(ROLES.flatMap((role) => this.#members[role].map((member) => member.kill())));
    await Promise.all([this.#postgres.remove(), this.#redis.remove()]);
  }

  async #begin(role: Role): Promise<void> {
    const env = { ROLE: role, DATABASE_URL: this.#postgres.url, REDIS_URL: this.#redis.url, KEY };
    const member = await Victim.start(env, PROGRAM, this.#heard);
    const members = this.#members[role];
    members.push(member);
    if (this.#removed) await member.kill();
    void member.ended.then(() => {
      const at = members.indexOf(member);
      if (at === -1 || this.#removed) return;
      members.splice(at, 1);
      this.fallen.push(`a process of the ${role} ended by itself`);
      this.#track(this.#begin(role));
    });
  }

  #track(beginning: Promise<unknown>): void {
    this.#starting.add(beginning);
    beginning.then(
      () => this.#starting.delete(beginning),
      () => undefined, // whoever waits for it hears of it
    );
  }
}
