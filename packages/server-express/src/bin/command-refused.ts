/** A command that cannot be done as it was given; the sentence is for who typed it. */
export class CommandRefused extends Error {
  override readonly name = "CommandRefused";
  /** Whether the command line itself is wrong, so that `--help` helps. */
  readonly usage: boolean;

  constructor(sentence: string, options: ErrorOptions & { readonly usage?: boolean } = {}) {
    super(sentence, options);
    this.usage = options.usage ?? false;
  }
}
