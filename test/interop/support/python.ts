/**
 * Python software that nobody here wrote, in virtual environments of the checkout
 * (`.evergrant/interop/venv*`, made by make_venv.py at the first use). Owns the pinned versions;
 * refuses to know what tests do with the programs.
 */
import { execFile } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

/** By environment: what pip may not mix stays apart. */
const ENVIRONMENTS = {
  /** boto3 and awscli must want the same botocore. */
  aws: {
    folder: "venv",
    requirements: ["moto[server]==5.2.5", "boto3==1.44.5", "awscli==1.46.3"],
  },
  google: {
    folder: "venv-google",
    requirements: ["google-auth==2.62.2", "google-cloud-storage==3.17.1", "requests==2.34.2"],
  },
} as const;

const FOLDER = fileURLToPath(new URL("../../../.evergrant/interop", import.meta.url));
const MAKE_VENV = fileURLToPath(new URL("make_venv.py", import.meta.url));

export interface PythonTools {
  /** Path of a program of the environment: `python`, `aws`, `moto_server`. */
  program(name: string): string;
}

/** Makes the environment if it is not there (minutes at the first time); who asks meanwhile waits. */
export async function pythonTools(
  environment: keyof typeof ENVIRONMENTS = "aws",
): Promise<PythonTools> {
  const { folder, requirements } = ENVIRONMENTS[environment];
  const venv = join(FOLDER, folder);
  await promisify(execFile)("python3", [MAKE_VENV, venv, ...requirements], {
    maxBuffer: 16 * 1024 * 1024,
  });
  return { program: (name) => join(venv, "bin", name) };
}

/** What the program printed. `env` and PATH are all of its environment. Rejects when it does not end with 0. */
export async function runTool(
  program: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<string> {
  const { stdout } = await promisify(execFile)(program, args, {
    env: { PATH: process.env["PATH"], ...env },
    maxBuffer: 16 * 1024 * 1024,
  });
  return stdout;
}
