import { z } from "zod";

/** What the tool is given and gives, in every contender. */
export const number = z.strictObject({ value: z.int() });
export const INSTRUCTIONS = "You add 1 with the tool, one time after the other, until you are told to stop.";
export const SUMMARY = "Adds 1.";

/** What the person asks. */
export const ASKED = "Add.";

export const add = ({ value }: { readonly value: number }) => ({ value: value + 1 });

/** What the model says when it has seen so many results: the tool's name and arguments, or, in the end, how many there were. */
export function turn(
  results: number,
  steps: number,
): { readonly call?: { readonly value: number }; readonly text: string } {
  return results < steps ? { call: { value: results }, text: "" } : { text: String(results) };
}

/** Counts runs and results of tools, for what cannot be asked afterwards. */
export function tally() {
  let [runs, results] = [0, 0];
  return {
    add: (given: { readonly value: number }) => {
      results += 1;
      return add(given);
    },
    /** What the agent's answer comes to from this number, when it is the one that the model gave in the end. */
    answered: (value: number, text: string) => {
      runs += 1;
      return value + Number(text);
    },
    written: async () => [runs, results],
  };
}
