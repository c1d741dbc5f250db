import { openRedis, redisStreams } from "@armature/adapter-redis";
import { type Finding, fail, ok, warn } from "./finding.ts";

/** Looks at Redis as the server's own user sees it. */
export async function* lookAtRedis(url: string): AsyncIterable<Finding> {
  const { client, close } = await openRedis(url);
  try {
    await redisStreams({ client, timeoutMs: 3_000 }).ping();
    yield* judge(String(await client.sendCommand(["INFO", "everything"])));
  } catch (error) {
    const { code = "no answer" } = error as NodeJS.ErrnoException;
    yield fail(
      "redis",
      `Redis cannot be used (${code}).`,
      "Look whether it runs, and at host, port, user and password in REDIS_URL.",
    );
  } finally {
    await close();
  }
}

function* judge(info: string): Iterable<Finding> {
  const fact = (name: string) => new RegExp(`^${name}:(.*?)\r?$`, "m").exec(info)?.[1] ?? "unknown";
  const version = fact("redis_version");
  if (Number.parseInt(version, 10) < 7) yield fail("redis", `Redis ${version} is too old.`, "Use Redis 7.0 or newer.");
  else if (fact("role") === "slave")
    yield fail("redis", `Redis ${version} is a replica, which takes no writes.`, "Point REDIS_URL at the master.");
  else yield ok("redis", `Redis ${version} answers`);
  const policy = fact("maxmemory_policy");
  if (policy !== "noeviction")
    yield warn(
      "redis",
      `Redis evicts what it likes when it is full (maxmemory-policy ${policy}), events too.`,
      "Set maxmemory-policy noeviction.",
    );
  if (fact("aof_enabled") !== "1")
    yield warn(
      "redis",
      "Redis keeps no append-only file: a restart loses events that it had taken and nobody had handled.",
      "Set appendonly yes.",
    );
}
