/** A boto3 process that signs on demand (sign.py). Ends with the test. */
import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { onTestFinished } from "vitest";

export interface Signed {
  /** The access keys that it signed with. */
  readonly keys?: readonly string[];
  /** The name of the exception, where it could not. */
  readonly error?: string;
}

/** Signs that many times, with one client for all of them. */
export type Sign = (times: number) => Promise<Signed>;

export function startBoto3(python: string, env: Readonly<Record<string, string>>): Sign {
  const script = fileURLToPath(new URL("sign.py", import.meta.url));
  const child: ChildProcess = spawn(python, [script], { env, stdio: ["pipe", "pipe", "inherit"] });
  onTestFinished(() => void child.kill("SIGKILL"));
  if (child.stdout === null) throw new Error("no standard output");
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return async (times) => {
    child.stdin?.write(`${times}\n`);
    const { value, done } = await lines.next();
    if (done === true) throw new Error("boto3 has ended");
    return JSON.parse(value as string) as Signed;
  };
}
