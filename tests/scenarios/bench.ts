import {
  type Armature,
  type ArmatureOptions,
  type ContextDefinition,
  createArmature,
  type Principal,
} from "@armature/core";
import { type RecordingLogger, recordingLogger } from "@armature/core/testing";
import { afterAll, afterEach, beforeAll } from "vitest";
import { type Desk, deskContext, type Lab, type Ledger, labContext, ledgerContext } from "./lab.ts";
import { keyEncryptionKey, type Place, type PlaceKind } from "./place.ts";

type LabContexts = readonly [ContextDefinition<Lab>, ContextDefinition<Ledger>, ContextDefinition<Desk>];
export type LabApp = Armature<LabContexts>;

type Options = Partial<Omit<ArmatureOptions, "contexts" | "store">> & {
  readonly lab?: Parameters<typeof labContext>[0];
  readonly desk?: Parameters<typeof deskContext>[0];
  /** Another store than a plain one of the place. */
  readonly store?: ArmatureOptions["store"];
};

/** Applications over one place, as processes that share a database. Each test's are closed after it. */
export interface Bench {
  readonly place: Place;
  start(options?: Options): Promise<LabApp>;
  /** A tenant that no other test has. */
  tenant(): string;
  /** What the applications of this test have logged. */
  readonly logger: RecordingLogger;
  /** Which permissions may be used. All, before it is set; asked for each call. */
  allow(decide: (principal: Principal, permission: string) => boolean): void;
}

let tenants = 0;

/** Sets a place up for the tests of the surrounding `describe`. */
export function benchOn(kind: PlaceKind): Bench {
  let place: Place;
  let logger = recordingLogger();
  let decide: (principal: Principal, permission: string) => boolean = () => true;
  const running: LabApp[] = [];

  const start = async ({ lab, desk, store, ...options }: Options = {}): Promise<LabApp> => {
    const app = await createArmature({
      keyEncryptionKey,
      logger,
      authorizer: (principal: Principal, permission: string) => decide(principal, permission),
      ...options,
      ...(place.executions === undefined ? {} : { executions: place.executions() }),
      store: store ?? (await place.open()),
      contexts: [labContext(lab), ledgerContext, deskContext(desk)] as LabContexts,
    });
    running.push(app);
    return app;
  };

  beforeAll(async () => {
    place = await kind.make();
    const app = await start({ relay: false });
    await app.migrate();
    await app.close();
  });
  afterEach(async () => {
    for (const app of running.splice(0)) await app.close();
    logger = recordingLogger();
    decide = () => true;
  });
  afterAll(async () => place?.close());

  return {
    get place() {
      return place;
    },
    get logger() {
      return logger;
    },
    start,
    tenant: () => {
      tenants += 1;
      return `tenant-${tenants}`;
    },
    allow: (rule) => {
      decide = rule;
    },
  };
}

/** A promise and what settles it. */
export function gate(): { readonly opened: Promise<void>; open(): void } {
  const { promise, resolve } = Promise.withResolvers<void>();
  return { opened: promise, open: resolve };
}
