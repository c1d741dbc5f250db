/** Which tenant's rows of which context. */
export interface Scope {
  readonly tenant: string;
  readonly context: string;
}

export interface AggregateRef {
  readonly type: string;
  readonly id: string;
}
