// What a host gives the reference server: its connectors, and which private origins they may call.
import { sandboxCrm } from "@armature-examples/sandbox-crm";
import { z } from "zod";

const { AUTHORIZATION_SERVER, CRM_API, CRM_CLIENT_SECRET, CRM_REQUESTS_PER_SECOND } = z
  .object({
    AUTHORIZATION_SERVER: z.url(),
    CRM_API: z.url(),
    CRM_CLIENT_SECRET: z.string().min(1),
    CRM_REQUESTS_PER_SECOND: z.coerce.number().int().min(1),
  })
  .parse(process.env);

export const connectors = [
  sandboxCrm({
    clientId: "armature-sandbox",
    clientSecret: CRM_CLIENT_SECRET,
    authorizationServer: AUTHORIZATION_SERVER,
    api: CRM_API,
    requestsPerSecond: CRM_REQUESTS_PER_SECOND,
  }),
];

export const allowedOrigins = [AUTHORIZATION_SERVER, CRM_API];
