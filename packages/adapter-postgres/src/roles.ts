import { quoteIdentifier } from "./identifier.ts";

/** The two roles that own functions. Nobody logs in as them, and row-level security binds both. */
export interface Roles {
  /** Owns the functions that work for one tenant. */
  readonly owner: string;
  /** Owns the functions of the relay, which sees the outbox of every tenant and little else. */
  readonly relay: string;
}

export function rolesOf(prefix: string): Roles {
  if (!/^[a-z][a-z0-9_]{0,39}$/.test(prefix))
    throw new TypeError(`The role prefix "${prefix}" must be lower snake case.`);
  return { owner: `${prefix}_owner`, relay: `${prefix}_relay` };
}

/**
 * Makes a role unless it is there. Roles belong to the whole server, so another database's migration may make it at
 * the same moment. One that could step over row-level security is refused: it is not ours.
 */
export function createRole(role: string): string {
  return `
DO $do$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = '${role}') THEN
    BEGIN
      CREATE ROLE ${quoteIdentifier(role)} NOLOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE NOREPLICATION;
    EXCEPTION WHEN duplicate_object OR unique_violation THEN
      NULL;
    END;
  END IF;
  IF EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = '${role}' AND (rolsuper OR rolbypassrls OR rolcanlogin)) THEN
    RAISE EXCEPTION USING ERRCODE = '42501', MESSAGE = 'the role ${role} exists and is not a restricted one';
  END IF;
END
$do$`;
}

/** Whether the session may act as the role; PostgreSQL 16 tells that apart from being a member. */
export const mayActAs = `
SELECT pg_catalog.pg_has_role(current_user, $1,
  CASE WHEN pg_catalog.current_setting('server_version_num')::int >= 160000 THEN 'SET' ELSE 'MEMBER' END) AS answer`;
