import { z } from "zod";

const version = z.int().min(1);
const metadata = z.object({ version });
const seconds = z.number().min(0);
// A token stands in a header from then on.
const token = z.string().regex(/^[\x21-\x7e]{1,8192}$/);

/** What Vault says when it refuses; often with nothing in it. */
export const refusal = z.object({ errors: z.array(z.string()) });

/** `GET <mount>/data/<path>`; the data may have been written by somebody else. */
export const readAnswer = z.object({ data: z.object({ data: z.record(z.string(), z.unknown()), metadata }) });

/** The same for a version that was deleted or destroyed: 404 with this. */
export const goneAnswer = z.object({ data: z.object({ data: z.null(), metadata }) });

/** `POST <mount>/data/<path>` */
export const writeAnswer = z.object({ data: z.object({ version }) });

/** `GET <mount>/metadata/<path>?list=true` */
export const listAnswer = z.object({ data: z.object({ keys: z.array(z.string()) }) });

/** `POST auth/<mount>/login` and `POST auth/token/renew-self` */
export const authAnswer = z.object({
  auth: z.object({ client_token: token, lease_duration: seconds, renewable: z.boolean() }),
});

/** `GET auth/token/lookup-self` */
export const lookupAnswer = z.object({ data: z.object({ ttl: seconds, renewable: z.boolean().optional() }) });

/** `GET sys/internal/ui/mounts/<mount>` */
export const mountAnswer = z.object({
  data: z.object({ type: z.string(), options: z.record(z.string(), z.string()).nullish() }),
});

/** `GET sys/health`, whatever its status. */
export const healthAnswer = z.object({ initialized: z.boolean(), sealed: z.boolean() });

/** What this adapter keeps in a version. `write` names the attempt, so that a lost answer can be made up for. */
export const storedSecret = z.object({ value: z.string(), write: z.string().optional() });
