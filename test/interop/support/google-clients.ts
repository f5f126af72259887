/**
 * Google's clients as child processes, with nothing but the environment that a receiver gives. Owns
 * the installation of the Node.js ones (test/interop/google, from its own lock file) and the lives of
 * the children.
 */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { onTestFinished } from "vitest";

export const GOOGLE_FOLDER = fileURLToPath(new URL("../google", import.meta.url));

/** Installs the packages unless what is there is of this lock file. */
export async function installGoogleClients(): Promise<void> {
  const lock = readFileSync(join(GOOGLE_FOLDER, "package-lock.json"), "utf8");
  const stamp = join(GOOGLE_FOLDER, "node_modules", ".installed-lock.json");
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === lock) return;
  const args = ["ci", "--ignore-scripts", "--no-audit", "--no-fund"];
  await promisify(execFile)("npm", args, { cwd: GOOGLE_FOLDER, maxBuffer: 16 * 1024 * 1024 });
  writeFileSync(stamp, lock);
}

/** What one demand came to. */
export interface Done {
  readonly ok: number;
  readonly errors: readonly string[];
}

export interface ClientProgram {
  /** Lets it work so many times. Rejects when the program has ended. */
  work(times: number): Promise<Done>;
}

export function startClient(
  program: string,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
): ClientProgram {
  const { child, lines } = spawned(program, args, env);
  return {
    async work(times) {
      child.stdin?.write(`${times}\n`);
      const { value, done } = await lines.next();
      if (done === true) throw new Error(`${args[0]} has ended`);
      return JSON.parse(value) as Done;
    },
  };
}

export const startNodeClient = (
  script: string,
  env: Readonly<Record<string, string>>,
): ClientProgram => startClient(process.execPath, [join(GOOGLE_FOLDER, script)], env);

export interface PubSubServer {
  /** `127.0.0.1:PORT` */
  readonly address: string;
  /** Methods of the calls that it has refused. */
  readonly refused: readonly string[];
}

export async function startPubSubServer(
  tokenInfoUrl: string,
  tls: { readonly certFile: string; readonly keyFile: string },
): Promise<PubSubServer> {
  const { lines } = spawned(process.execPath, [join(GOOGLE_FOLDER, "pubsub-server.mjs")], {
    TOKENINFO_URL: tokenInfoUrl,
    TLS_CERT: tls.certFile,
    TLS_KEY: tls.keyFile,
  });
  const { value, done } = await lines.next();
  if (done === true) throw new Error("the Pub/Sub server has ended");
  const { port } = JSON.parse(value) as { readonly port: number };
  const refused: string[] = [];
  const listen = async (): Promise<void> => {
    for await (const line of lines) refused.push((JSON.parse(line) as { refused: string }).refused);
  };
  listen().catch(() => undefined);
  return { address: `127.0.0.1:${port}`, refused };
}

function spawned(program: string, args: readonly string[], env: Readonly<Record<string, string>>) {
  const child: ChildProcess = spawn(program, args, { env, stdio: ["pipe", "pipe", "inherit"] });
  onTestFinished(() => void child.kill("SIGKILL"));
  if (child.stdout === null) throw new Error("no standard output");
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return { child, lines };
}
