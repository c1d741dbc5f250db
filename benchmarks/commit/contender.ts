/** One way to change an aggregate. */
export interface Contender {
  readonly name: string;
  make(id: string): Promise<void>;
  change(id: string): Promise<void>;
}
