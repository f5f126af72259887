/** The files that the demo gives to its coordinator: one job with one AWS provider at the emulator. */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { stringify } from "yaml";
import type { StsEmulator } from "../../emulators/aws-sts/server.ts";
import { writeProfile } from "../sts-emulator.ts";

export const DEMO_REGION = "eu-west-1";
export const DEMO_PROVIDER = "lake";
const DEMO_ROLE = "arn:aws:iam::000000000000:role/lake";

export interface DemoFiles {
  readonly config: string;
  readonly joinFile: string;
  readonly operatorFile: string;
  readonly stateDir: string;
  readonly logDir: string;
}

/** Writes `job.yaml` and the emulator's key into the run folder, which exists. */
export async function writeDemoFiles(runDir: string, sts: StsEmulator): Promise<DemoFiles> {
  const at = (name: string): string => join(runDir, name);
  const files: DemoFiles = {
    config: at("job.yaml"),
    joinFile: at("join.json"),
    operatorFile: at("operator.json"),
    stateDir: at("agents"),
    logDir: at("logs"),
  };
  await mkdir(files.stateDir, { recursive: true, mode: 0o700 });
  await mkdir(files.logDir, { recursive: true, mode: 0o700 });
  await writeProfile(at("base-credentials"), sts.baseCredentials);
  const job = {
    job: "demo",
    runDir: ".",
    // What an agent has refused is in its beats, and a short demo wants to know it at its end.
    timing: { beatSec: 5, lostSec: 20 },
    providers: [
      {
        name: DEMO_PROVIDER,
        kind: "aws-sts",
        action: "AssumeRole",
        roleArn: DEMO_ROLE,
        region: DEMO_REGION,
        endpoint: sts.url,
        durationSec: 3600,
        base: { profile: "default", credentialsFile: at("base-credentials") },
      },
    ],
  };
  await writeFile(files.config, stringify(job), { mode: 0o600 });
  return files;
}
