/** What the doctor found out about one thing. */
export interface Finding {
  readonly check: string;
  readonly status: "ok" | "warn" | "fail";
  readonly found: string;
  /** What to do about it; absent when it is well. */
  readonly todo?: string;
}

export const ok = (check: string, found: string): Finding => ({ check, status: "ok", found });
export const warn = (check: string, found: string, todo: string): Finding => ({ check, status: "warn", found, todo });
export const fail = (check: string, found: string, todo: string): Finding => ({ check, status: "fail", found, todo });

/** A finding as lines for a person. */
export function findingText({ check, status, found, todo }: Finding): string {
  return `${status.padEnd(5)}${check.padEnd(12)}${found}${todo === undefined ? "" : `\n${" ".repeat(17)}→ ${todo}`}`;
}
