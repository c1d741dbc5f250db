import { definer, type FunctionText } from "./function-text.ts";

/** Leases, by the database's clock. A fence grows with every holder of the key. */
export const leaseFunctions: readonly FunctionText[] = [
  definer(
    "armature.lease_acquire",
    "p_key text, p_owner text, p_ttl_ms bigint",
    `
DECLARE
  answer text;
BEGIN
  INSERT INTO armature.leases AS held (key, owner, fence, expires_at)
  VALUES (p_key, p_owner, 1, clock_timestamp() + p_ttl_ms * interval '1 millisecond')
  ON CONFLICT (key) DO UPDATE
    SET owner = p_owner, fence = held.fence + 1, expires_at = clock_timestamp() + p_ttl_ms * interval '1 millisecond'
    WHERE held.expires_at <= clock_timestamp()
  RETURNING held.fence::text INTO answer;
  RETURN answer;
END`,
  ),
  definer(
    "armature.lease_renew",
    "p_key text, p_owner text, p_ttl_ms bigint",
    `
BEGIN
  UPDATE armature.leases SET expires_at = clock_timestamp() + p_ttl_ms * interval '1 millisecond'
    WHERE key = p_key AND owner = p_owner AND expires_at > clock_timestamp();
  RETURN found::text;
END`,
  ),
  definer(
    "armature.lease_release",
    "p_key text, p_owner text",
    `
BEGIN
  UPDATE armature.leases SET expires_at = '-infinity' WHERE key = p_key AND owner = p_owner;
  RETURN found::text;
END`,
  ),
];
