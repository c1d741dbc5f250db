import type { ContextDefinition } from "../kernel/context.ts";
import type { Armature, ArmatureOptions } from "./armature.ts";

/**
 * Starts Armature inside this process.
 *
 * @throws {TypeError} the contexts do not fit together; the sentence says where
 * @throws {InvalidInput} an option is not valid
 */
export async function createArmature<const X extends readonly ContextDefinition[] = readonly []>(
  options: ArmatureOptions<X>,
): Promise<Armature<X>> {
  // Loaded here, so that importing the kernel costs nothing of the container.
  const { compose } = await import("./composition-root.ts");
  return (await compose(options)) as unknown as Armature<X>;
}
