import { expect, test, vi } from "vitest";
import { z } from "zod";
import { inMemory } from "../in-memory/index.ts";
import { defineContext } from "../kernel/context.ts";
import { defineContract, query } from "../kernel/contract.ts";
import { createArmature } from "./create-armature.ts";

const notes = defineContract("notes", {
  read: query({ input: z.strictObject({}), permission: "notes:read", summary: "Reads a note." }),
});
const broken = defineContext(notes, {
  handlers: {
    read: () => {
      throw new Error("a defect of the handler");
    },
  },
});

test("a host without a logger sees on the console what an internal error hides from its caller", async () => {
  const error = vi.spyOn(console, "error").mockImplementation(() => undefined);
  try {
    await using app = await createArmature({ store: inMemory(), authorizer: () => true, contexts: [broken] });
    const failed = app.as({ tenant: "acme", user: "ann" }).notes.read();
    await expect(failed).rejects.not.toThrow("a defect");
    expect(error.mock.calls).toEqual([
      [
        "armature: notes.read failed unexpectedly",
        expect.objectContaining({ tenant: "acme", error: expect.stringContaining("a defect of the handler") }),
      ],
    ]);
  } finally {
    error.mockRestore();
  }
});
