/** The files that the demo gives to its coordinator: one job with a provider for each emulator. */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { stringify } from "yaml";
import { writeProfile } from "../sts-emulator.ts";
import { type DemoIssuers, GOOGLE_IDENTITY } from "./issuers.ts";

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

/** Writes `job.yaml` and the STS emulator's key into the run folder, which exists. */
export async function writeDemoFiles(runDir: string, issuers: DemoIssuers): Promise<DemoFiles> {
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
  const { sts, google } = issuers;
  if (sts !== undefined) await writeProfile(at("base-credentials"), sts.baseCredentials);
  const job = {
    job: "demo",
    runDir: ".",
    // What an agent has refused is in its beats, and a short demo wants to know it at its end.
    timing: { beatSec: 5, lostSec: 20 },
    providers: [
      ...(sts === undefined ? [] : [awsProvider(sts.url, at("base-credentials"))]),
      ...(google === undefined ? [] : [googleProvider(google.emulator.url, google.keyFile)]),
    ],
  };
  await writeFile(files.config, stringify(job), { mode: 0o600 });
  return files;
}

const awsProvider = (endpoint: string, credentialsFile: string) => ({
  name: DEMO_PROVIDER,
  kind: "aws-sts",
  action: "AssumeRole",
  roleArn: DEMO_ROLE,
  region: DEMO_REGION,
  endpoint,
  durationSec: 3600,
  base: { profile: "default", credentialsFile },
});

function googleProvider(url: string, keyFile: string) {
  const { audience, issuer, subject, account } = GOOGLE_IDENTITY;
  return {
    name: "gcs",
    kind: "google-wif",
    audience,
    subjectToken: { jwt: { keyFile, issuer, subject } },
    serviceAccount: { email: account },
    endpoints: { sts: url, iamCredentials: url },
  };
}
