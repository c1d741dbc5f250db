import { type ActionContext, defineContext } from "../../kernel/context.ts";
import { Forbidden } from "../../kernel/errors.ts";
import { type Projections, type ProjectionView, projections } from "./contract.ts";

type Action = ActionContext<Projections, never>;

/** What keeps projections, as far as they can be managed. All of it throws `NotFound` for one that there is not. */
export interface ProjectionAdministration {
  list(): Promise<readonly ProjectionView[]>;
  pause(projection: string): Promise<void>;
  resume(projection: string): Promise<void>;
  /**
   * Gives the number of the new generation.
   *
   * @param again whether it may have been asked for before: then one that is being built already is it
   */
  rebuild(projection: string, again: boolean): Promise<number>;
}

/** Shows and manages the projections of all contexts. It keeps nothing itself. */
export function projectionsContext(administration: ProjectionAdministration) {
  // A host's own authorizer may let a tenant's admin do everything; this is every tenant's.
  const bySystem = ({ principal }: Action, permission: string): ProjectionAdministration => {
    if (principal.actor.type !== "system") throw new Forbidden({ permission });
    return administration;
  };
  const { list, pause, resume, rebuild } = projections.operations;
  return defineContext(projections, {
    handlers: {
      list: async (_input, ctx) => ({ items: [...(await bySystem(ctx, list.permission).list())] }),
      pause: ({ projection }, ctx) => bySystem(ctx, pause.permission).pause(projection),
      resume: ({ projection }, ctx) => bySystem(ctx, resume.permission).resume(projection),
      rebuild: async ({ projection }, ctx) => ({
        generation: await bySystem(ctx, rebuild.permission).rebuild(projection, ctx.attempt > 1),
      }),
    },
  });
}
