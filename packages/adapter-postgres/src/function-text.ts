import { quoteIdentifier } from "./identifier.ts";

/** A function of ours: how it is made, how grants name it, and whether the application calls it. */
export interface FunctionText {
  readonly sql: string;
  readonly signature: string;
  readonly called: boolean;
}

/**
 * A function that callers run with its owner's rights. The search path is fixed, so that no object of the caller can
 * slip in. Plans are kept per connection, so they must suit the table that it will be and not the small one that it
 * was: one plan for all values, and no sequential scan in it. Nor is it compiled (JIT): the estimate for a page of a long
 * table passes the threshold, and compiling takes 70 times as long as reading the page.
 */
export function definer(name: string, parameters: string, body: string, more: readonly string[] = []): FunctionText {
  const settings = [
    "search_path = pg_catalog, pg_temp",
    "enable_seqscan = off",
    "plan_cache_mode = force_generic_plan",
    "jit = off",
    ...more,
  ];
  const rights = ["SECURITY DEFINER", ...settings.map((each) => `SET ${each}`)].join(" ");
  return { ...functionText(name, parameters, rights, body), called: true };
}

/** A function that only our own functions call, under the rights and settings that they have already. */
export function inner(name: string, parameters: string, body: string): FunctionText {
  return { ...functionText(name, parameters, "SECURITY INVOKER", body), called: false };
}

/**
 * A function for one tenant, `p_tenant`. Row-level security reads the tenant from a setting that lasts for the
 * transaction, so `answer` is worked out between binding and unbinding it: what the caller runs next in the same
 * transaction sees no tenant at all. An error undoes the setting with everything else.
 */
export function forTenant(
  name: string,
  parameters: string,
  { declare = "", body }: { readonly declare?: string; readonly body: string },
): FunctionText {
  return definer(
    name,
    `p_tenant text${parameters === "" ? "" : `, ${parameters}`}`,
    // An assignment costs a fraction of what PERFORM does.
    `DECLARE
  answer text;
  ignored text;
  ${declare.trim()}
BEGIN
  ignored := set_config('armature.tenant', p_tenant, true);
  ${body.trim()}
  ignored := set_config('armature.tenant', '', true);
  RETURN answer;
END`,
  );
}

/** Makes the functions, and takes from PUBLIC the right to run them that every new function comes with. */
export function installed(functions: readonly FunctionText[]): readonly string[] {
  return [
    ...functions.map(({ sql }) => sql),
    `REVOKE ALL ON FUNCTION ${functions.map(({ signature }) => signature).join(", ")} FROM PUBLIC`,
  ];
}

/** Lets the application run what it calls. */
export function callable(functions: readonly FunctionText[], role: string): string {
  const signatures = functions.filter(({ called }) => called).map(({ signature }) => signature);
  return `GRANT EXECUTE ON FUNCTION ${signatures.join(", ")} TO ${quoteIdentifier(role)}`;
}

// Everything returns text, mostly JSON: the answer then does not depend on how a host's driver reads other types.
function functionText(name: string, parameters: string, rights: string, body: string): Omit<FunctionText, "called"> {
  const types = parameters === "" ? [] : parameters.split(",").map((each) => each.trim().split(" ")[1]);
  return {
    signature: `${name}(${types.join(", ")})`,
    sql: `CREATE OR REPLACE FUNCTION ${name}(${parameters}) RETURNS text LANGUAGE plpgsql ${rights} AS $fn$
${body.trim()}
$fn$`,
  };
}
