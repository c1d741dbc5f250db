import type { Clock } from "@armature/core";
import { z } from "zod";

/** What the fake answers. A body of undefined is an empty one. */
export interface FakeReply {
  readonly status: number;
  readonly body?: unknown;
}

export const refuse = (status: number, ...errors: readonly string[]): FakeReply => ({ status, body: { errors } });

/** Data in the envelope that Vault puts around it. */
export const give = (data: unknown, extra: object = {}, status = 200): FakeReply => ({
  status,
  body: {
    request_id: "00000000-0000-0000-0000-000000000000",
    lease_id: "",
    renewable: false,
    lease_duration: 0,
    data,
    wrap_info: null,
    warnings: null,
    auth: null,
    ...extra,
  },
});

interface Version {
  readonly data: object;
  readonly created: number;
  deleted: number | undefined;
  destroyed: boolean;
}

interface Entry {
  current: number;
  oldest: number;
  readonly versions: Map<number, Version>;
}

const DEFAULT_MAX_VERSIONS = 10;
const writeBody = z.object({
  data: z.record(z.string(), z.unknown()).optional(),
  options: z.object({ cas: z.coerce.number().int().optional() }).optional(),
});

/** A KV version 2 engine as Vault's own works: versions, a sliding window of them, check-and-set, soft deletion. */
export class FakeKv {
  readonly config = { maxVersions: 0, casRequired: false };
  readonly #entries = new Map<string, Entry>();
  readonly #clock: Clock;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  has(path: string): boolean {
    return this.#entries.has(path);
  }

  read(path: string, asked: number): FakeReply {
    const entry = this.#entries.get(path);
    const number = asked > 0 ? asked : (entry?.current ?? 0);
    const version = entry?.versions.get(number);
    if (version === undefined) return refuse(404);
    const isGone = version.destroyed || (version.deleted !== undefined && version.deleted <= this.#clock.now());
    const metadata = { version: number, ...this.#describe(version), custom_metadata: null };
    return isGone ? give({ data: null, metadata }, {}, 404) : give({ data: version.data, metadata });
  }

  write(path: string, body: unknown): FakeReply {
    const { data, options } = writeBody.parse(body);
    if (data === undefined) return refuse(400, "no data provided");
    const entry = this.#entries.get(path) ?? { current: 0, oldest: 0, versions: new Map<number, Version>() };
    if (options?.cas === undefined && this.config.casRequired)
      return refuse(400, "check-and-set parameter required for this call");
    if (options?.cas !== undefined && options.cas !== entry.current)
      return refuse(400, "check-and-set parameter did not match the current version");
    const version: Version = { data, created: this.#clock.now(), deleted: undefined, destroyed: false };
    entry.current += 1;
    entry.versions.set(entry.current, version);
    this.#entries.set(path, entry);
    const max = this.config.maxVersions > 0 ? this.config.maxVersions : DEFAULT_MAX_VERSIONS;
    if (entry.current - entry.oldest >= max) {
      const last = entry.current - max;
      for (let old = entry.oldest; old <= last; old += 1) entry.versions.delete(old);
      entry.oldest = last + 1;
    }
    return give({ version: entry.current, ...this.#describe(version), custom_metadata: null });
  }

  /** What `vault kv delete` does: the newest version is marked, its number stays. */
  softDelete(path: string): FakeReply {
    const entry = this.#entries.get(path);
    const newest = entry?.versions.get(entry.current);
    if (newest !== undefined && !newest.destroyed) newest.deleted ??= this.#clock.now();
    return { status: 204 };
  }

  destroy(path: string, versions: readonly number[]): FakeReply {
    for (const number of versions) {
      const version = this.#entries.get(path)?.versions.get(number);
      if (version !== undefined) version.destroyed = true;
    }
    return { status: 204 };
  }

  readMetadata(path: string): FakeReply {
    const entry = this.#entries.get(path);
    if (entry === undefined) return refuse(404);
    const versions = [...entry.versions].map(([number, version]) => [number, this.#describe(version)] as const);
    return give({
      current_version: entry.current,
      oldest_version: entry.oldest,
      max_versions: 0,
      cas_required: false,
      versions: Object.fromEntries(versions),
    });
  }

  deleteMetadata(path: string): FakeReply {
    this.#entries.delete(path);
    return { status: 204 };
  }

  /** Keys of one folder, with those whose versions are all deleted; never of folders below. */
  list(folder: string): FakeReply {
    const start = folder === "" ? "" : `${folder.replace(/\/$/, "")}/`;
    const keys = new Set<string>();
    for (const path of this.#entries.keys()) {
      if (!path.startsWith(start)) continue;
      const rest = path.slice(start.length);
      keys.add(rest.includes("/") ? rest.slice(0, rest.indexOf("/") + 1) : rest);
    }
    return keys.size === 0 ? refuse(404) : give({ keys: [...keys].sort() });
  }

  #describe({ created, deleted, destroyed }: Version) {
    const instant = (ms: number | undefined) => (ms === undefined ? "" : new Date(ms).toISOString());
    return { created_time: instant(created), deletion_time: instant(deleted), destroyed };
  }
}
