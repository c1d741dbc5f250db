// What a host gives the reference server: its connectors, which private origins they may call, its agents and models.
import { sandboxCrm } from "@armature-examples/sandbox-crm";
import { z } from "zod";
import { demoModel, demoPrices, salesAssistant } from "./sales-assistant.ts";

const { AUTHORIZATION_SERVER, CRM_API, CRM_CLIENT_SECRET, CRM_REQUESTS_PER_SECOND } = z
  .object({
    AUTHORIZATION_SERVER: z.url(),
    CRM_API: z.url(),
    CRM_CLIENT_SECRET: z.string().min(1),
    CRM_REQUESTS_PER_SECOND: z.coerce.number().int().min(1),
  })
  .parse(process.env);

const crm = sandboxCrm({
  clientId: "armature-sandbox",
  clientSecret: CRM_CLIENT_SECRET,
  authorizationServer: AUTHORIZATION_SERVER,
  api: CRM_API,
  requestsPerSecond: CRM_REQUESTS_PER_SECOND,
});

export const connectors = [crm];
export const agents = [salesAssistant(crm)];
export const models = { default: demoModel().model };
export const prices = demoPrices;

export const allowedOrigins = [AUTHORIZATION_SERVER, CRM_API];
