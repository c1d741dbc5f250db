import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import { z } from "zod";
import { Surprise } from "./report.ts";

const run = promisify(execFile);
const flags = ["--conditions=@armature/source", "--disable-warning=ExperimentalWarning"];
const children = new Set<ChildProcess>();

/** A process that the demo started. */
export interface Running {
  readonly pid: number;
  /** What it has printed so far. */
  log(): string;
  /** Ends it: by SIGTERM, which it may answer, or by SIGKILL, which it cannot. */
  end(signal?: "SIGTERM" | "SIGKILL"): Promise<void>;
}

/** Starts a server that prints `{"ready":"http://…"}` once it answers. */
export async function startReporting(
  file: string,
  args: readonly string[],
): Promise<Running & { readonly origin: string }> {
  const child = launch(file, args, {}, ["ignore", "pipe", "inherit"]);
  const lines = createInterface({ input: child.stdout! });
  const [line] = (await Promise.race([
    once(lines, "line"),
    once(child, "exit").then(([code]) =>
      Promise.reject(new Surprise(`${file} ended with ${code} before it was ready.`)),
    ),
  ])) as [string];
  return { ...handle(child), origin: z.object({ ready: z.url() }).parse(JSON.parse(line)).ready };
}

/** Starts a server and waits until `readyUrl` answers with success. Its log is shown only if it dies unasked. */
export async function startAnswering(
  file: string,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
  readyUrl: string,
): Promise<Running> {
  const child = launch(file, args, env, ["ignore", "pipe", "pipe"]);
  let log = "";
  for (const stream of [child.stdout!, child.stderr!])
    stream.on("data", (chunk: Buffer) => {
      log += chunk.toString();
    });
  const running = handle(child, () => log);
  for (;;) {
    if (child.exitCode !== null || child.signalCode !== null)
      throw new Surprise(`The server ended before it was ready:\n${log.slice(-4000)}`);
    const answer = await fetch(readyUrl).catch(() => undefined);
    if (answer?.ok === true) return running;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Runs a command to its end and gives what it printed. */
export async function command(
  file: string,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
): Promise<string> {
  try {
    const { stdout } = await run(process.execPath, [...flags, file, ...args], { env: environment(env) });
    return stdout.trim();
  } catch (error) {
    const { stderr = "", stdout = "" } = error as { stderr?: string; stdout?: string };
    throw new Surprise(`${args.join(" ")} failed:\n${stdout}${stderr}`);
  }
}

/** A port that nobody listens on now. */
export async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, "close");
  return port;
}

/** Ends whatever still runs. */
export function endAll(): void {
  for (const child of children) child.kill("SIGKILL");
}

// The servers are set up by their environment, and a DATABASE_URL in the reader's shell is not meant for them.
const INHERITED = [
  "PATH",
  "Path",
  "SystemRoot",
  "HOME",
  "TMPDIR",
  "TEMP",
  "TMP",
  "CRM_CLIENT_SECRET",
  "OPENAI_API_KEY",
  "ARMATURE_MODEL_URL",
  "ARMATURE_MODEL",
];

function environment(own: Readonly<Record<string, string>>): Record<string, string> {
  const inherited = INHERITED.flatMap((name) => {
    const value = process.env[name];
    return value === undefined ? [] : [[name, value] as const];
  });
  return { ...Object.fromEntries(inherited), ...own };
}

function launch(
  file: string,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
  stdio: ("ignore" | "pipe" | "inherit")[],
): ChildProcess {
  const child = spawn(process.execPath, [...flags, file, ...args], { env: environment(env), stdio });
  children.add(child);
  child.once("exit", () => children.delete(child));
  return child;
}

function handle(child: ChildProcess, log: () => string = () => ""): Running {
  return {
    pid: child.pid!,
    log,
    async end(signal = "SIGTERM") {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.kill(signal);
      await once(child, "exit");
    },
  };
}
