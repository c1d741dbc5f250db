// A server on a port of its own: forked by `serving.ts` with a setting, ended when it is left alone.
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { floorServer } from "./floor-server.ts";
import { ourServer } from "./our-server.ts";
import type { Served, ServingSetting } from "./serving.ts";

/** What answers, and what is left to do when it ends. */
export interface Answering {
  readonly listener: RequestListener;
  readonly key: string;
  close(): Promise<unknown>;
}

const setting = JSON.parse(process.argv[2]!) as ServingSetting;
const { listener, key, close } = await (setting.by === "armature" ? ourServer(setting) : floorServer(setting));
const server = createServer(listener).listen(0, "127.0.0.1", () => {
  process.send?.({ port: (server.address() as AddressInfo).port, key } satisfies Served);
});
process.once("disconnect", async () => {
  server.close();
  server.closeAllConnections();
  await close();
  process.exit();
});
