const reserved = new Set(["public", "information_schema", "armature"]);

/** A name as SQL writes it. */
export function quoteIdentifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/** A text constant as SQL writes it. For names that developers choose, never for data. */
export function quoteLiteral(text: string): string {
  if (text.includes("\\")) throw new TypeError(`"${text}" cannot stand in a statement.`);
  return `'${text.replaceAll("'", "''")}'`;
}

/** The schema of a context, quoted. Throws when the name could not be, or must not be, a schema of ours. */
export function contextSchema(context: string): string {
  if (!/^[a-z][a-z0-9_]{0,39}$/.test(context))
    throw new TypeError(`The context name "${context}" must be lower snake case.`);
  if (reserved.has(context) || context.startsWith("pg_"))
    throw new TypeError(`The context name "${context}" is the name of a schema of PostgreSQL or of Armature.`);
  return quoteIdentifier(context);
}

/** The column that holds an index field. */
export function indexColumn(field: string): string {
  // PostgreSQL cuts names at 63 bytes without an error, so that two long ones could become the same.
  if (!/^[A-Za-z][A-Za-z0-9_]{0,59}$/.test(field)) throw new TypeError(`"${field}" cannot be an index field.`);
  return `ix_${field}`;
}
