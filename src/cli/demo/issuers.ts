/**
 * The emulated issuers of a demo: STS, Google, or both. Owns what is asked of them and what they have
 * counted; refuses to know how a job uses them.
 */
import { generateKeyPairSync } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { readSigningKey } from "../../coordinator/providers/google-wif/signing-key.ts";
import { type StsEmulator, startStsEmulator } from "../../emulators/aws-sts/server.ts";
import { type GoogleEmulator, startGoogleEmulator } from "../../emulators/google/server.ts";
import type { DurationMs } from "../../protocol/time.ts";
import type { CliIo } from "../io.ts";

/** Whose credentials a demo shows. */
export type DemoProvider = "aws" | "google" | "both";

/** The identity that the Google emulator's pool accepts. */
export const GOOGLE_IDENTITY = {
  audience:
    "//iam.googleapis.com/projects/123456789012/locations/global/workloadIdentityPools/demo-pool/providers/evergrant",
  issuer: "https://evergrant.example.com",
  subject: "job:demo",
  account: "lake@demo-project.iam.gserviceaccount.com",
} as const;

export interface DemoIssuers {
  readonly sts: StsEmulator | undefined;
  readonly google: { readonly emulator: GoogleEmulator; readonly keyFile: string } | undefined;
  /** For people: where they are. */
  readonly places: readonly string[];
  /** Credentials that were asked for so far, whatever came of it. */
  calls(): number;
  /** How many credentials the client's calls were made under, as the services saw them. */
  credentialsUsed(): number;
  stop(): Promise<void>;
}

/** Starts them. `runDir` exists; the signing key is written there. */
export async function startDemoIssuers(
  provider: DemoProvider,
  lifetime: DurationMs,
  runDir: string,
  io: CliIo,
): Promise<DemoIssuers> {
  const common = { clock: io.clock, random: io.random, knobs: { lifetimeMs: lifetime } };
  const used = new Set<string>();
  const sts = provider === "google" ? undefined : await startStsEmulator(common);
  if (sts !== undefined) {
    sts.onCall = ({ action, accessKeyId }) => {
      if (action === "GetCallerIdentity" && accessKeyId !== undefined) used.add(accessKeyId);
    };
  }
  const google = provider === "aws" ? undefined : await startGoogle(common, runDir);
  if (google !== undefined) {
    google.emulator.onCall = ({ operation, tokenDigest }) => {
      if (operation === "resource" && tokenDigest !== undefined) used.add(tokenDigest);
    };
  }
  return {
    sts,
    google,
    places: [
      ...(sts === undefined ? [] : [`STS emulator at ${sts.url}`]),
      ...(google === undefined ? [] : [`Google emulator at ${google.emulator.url}`]),
    ],
    calls: () => (sts?.count("AssumeRole") ?? 0) + (google?.emulator.count("exchange") ?? 0),
    credentialsUsed: () => used.size,
    async stop() {
      await sts?.stop();
      await google?.emulator.stop();
    },
  };
}

async function startGoogle(
  common: Parameters<typeof startGoogleEmulator>[0],
  runDir: string,
): Promise<DemoIssuers["google"]> {
  const keyFile = join(runDir, "google-signing-key.pem");
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  await writeFile(keyFile, privateKey.export({ type: "pkcs8", format: "pem" }), { mode: 0o600 });
  const { publicJwk } = await readSigningKey({ keyFile });
  const { audience: name, issuer } = GOOGLE_IDENTITY;
  const poolProviders = [{ name, issuer, jwks: { keys: [publicJwk] } }];
  return { emulator: await startGoogleEmulator({ ...common, poolProviders }), keyFile };
}
