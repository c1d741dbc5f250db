import { definer, type FunctionText } from "./function-text.ts";
import { contextSchema, quoteIdentifier } from "./identifier.ts";
import { storedEvent } from "./query-sql.ts";
import type { Roles } from "./roles.ts";

/** How many events are looked through for each that is asked for, when only some types are wanted. */
const LOOKED_THROUGH = 10;

/** What lets the log be followed: positions can be looked up, and nothing else tells one transaction from another. */
export function logIndex(context: string): readonly string[] {
  const schema = contextSchema(context);
  return [
    `CREATE INDEX events_by_position ON ${schema}.events (position)`,
    `ALTER TABLE ${schema}.events DROP COLUMN IF EXISTS xid`,
  ];
}

/** The relay's role may see which position was taken last. */
export function logAccess(context: string, roles: Roles): readonly string[] {
  return [`GRANT SELECT ON SEQUENCE ${sequenceOf(context)} TO ${quoteIdentifier(roles.relay)}`];
}

/** What the relay's role reads of the log, over all tenants. */
export function logFunctions(context: string): readonly FunctionText[] {
  const schema = contextSchema(context);
  return [
    // A position is taken by a transaction that has its id already. So an id that is given out after p_fence was seen to
    // be the last position taken is higher than that of everyone who could still fill a position up to p_fence: once
    // they have all ended, nobody can. What was committed of them a snapshot from then on sees. The id is this
    // transaction's own, because the end of a snapshot is no such bound: a transaction that runs can lie behind it.
    definer(
      `${schema}.log_read`,
      "p_after bigint, p_settled bigint, p_fence bigint, p_fence_xid text, p_types text[], p_limit int",
      `
DECLARE
  oldest xid8 := pg_snapshot_xmin(pg_current_snapshot());
  barrier xid8 := p_fence_xid::xid8;
  settled bigint := p_settled;
  boundary bigint;
  looked_at int;
  taken int;
  reached bigint;
  items text;
BEGIN
  IF p_fence > settled THEN
    barrier := coalesce(barrier, pg_current_xact_id());
    IF oldest >= barrier THEN
      settled := p_fence;
    END IF;
  END IF;
  boundary := settled;
  IF p_types IS NOT NULL THEN
    SELECT max(position), count(*) INTO reached, looked_at FROM (
      SELECT position FROM ${schema}.events WHERE position > p_after AND position <= settled
        ORDER BY position LIMIT p_limit * ${LOOKED_THROUGH}) AS near;
    IF looked_at = p_limit * ${LOOKED_THROUGH} THEN
      boundary := reached;
    END IF;
  END IF;
  SELECT coalesce(json_agg(json_build_object('position', page.position, 'event', page.event) ORDER BY page.position), '[]')::text,
      count(*), max(page.position)
    INTO items, taken, reached
    FROM (SELECT event.position, ${storedEvent(context, "event")} AS event
      FROM ${schema}.events AS event
      WHERE event.position > p_after AND event.position <= boundary AND (p_types IS NULL OR event.type = ANY (p_types))
      ORDER BY event.position LIMIT p_limit) AS page;
  IF taken = p_limit THEN
    boundary := reached;
  END IF;
  RETURN '{"items":' || items || ',"upTo":' || greatest(boundary, p_after) || ',"settled":' || settled
    || ',"barrier":"' || coalesce(barrier::text, '') || '","head":' || (${headOf(context)}) || '}';
END`,
    ),
    definer(
      `${schema}.log_head`,
      "",
      `
BEGIN
  RETURN (${headOf(context)})::text;
END`,
    ),
    definer(
      `${schema}.log_count`,
      "p_after bigint, p_at_most int",
      `
BEGIN
  RETURN (SELECT count(*) FROM (SELECT FROM ${schema}.events WHERE position > p_after LIMIT p_at_most) AS behind)::text;
END`,
    ),
  ];
}

// A sequence is not part of any snapshot: this is its value now.
function headOf(context: string): string {
  return `SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM ${sequenceOf(context)}`;
}

function sequenceOf(context: string): string {
  return `${contextSchema(context)}.events_position_seq`;
}
