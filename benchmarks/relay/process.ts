// A draining process: forked by `processes.ts` with a setting, told when there is something to drain.
import type { Ask, DrainSetting, MakeDrainer, Told } from "./drainer.ts";
import { PublicationLog } from "./publications.ts";

const setting = JSON.parse(process.argv[2]!) as DrainSetting;
const { makeDrainer } = (await import(new URL(setting.file, import.meta.url).href)) as { makeDrainer: MakeDrainer };
const tell = (message: Told) => process.send?.(message);

const log = new PublicationLog();
const drainer = await makeDrainer(setting, log, (count) => tell({ told: "published", count }));
process.on("message", async ({ ask }: Ask) => {
  if (ask === "drain") drainer.begin();
  else if (ask === "log") tell({ told: "log", log: log.take() });
  else {
    await drainer.close();
    tell({ told: "closed" });
    process.disconnect();
  }
});
// Who started it has gone.
process.once("disconnect", () => setTimeout(() => process.exit(), 1_000).unref());
tell({ told: "ready" });
