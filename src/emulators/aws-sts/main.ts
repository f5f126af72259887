/**
 * Runs the emulator alone on a port, for system tests and by hand:
 * `node src/emulators/aws-sts/main.ts [--port N] [--host H] [--knobs JSON] [--config FILE] [--credentials-file FILE] [--s3]`.
 * Prints one line of JSON, `{"url":…,"credentialsFile":…}`, once it listens; `--s3` starts the protected
 * store beside it and adds `s3Url`. The file is an AWS shared
 * credentials file (mode 0600) with the base key as its default profile; one that was not asked for by
 * name is removed at the end. SIGINT and SIGTERM end it with 0.
 */
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { z } from "zod";
import { systemRandom } from "../../runtime/system-clock.ts";
import { startS3Emulator } from "../aws-s3/server.ts";
import { endAtSignal, OPTIONS, startOptions, wireJwks } from "../shared/command-line.ts";
import { wireKnobs } from "./knobs.ts";
import { startStsEmulator } from "./server.ts";

/** The JSON of `--config`: roles and OIDC providers as data. */
const wireConfig = z.strictObject({
  roles: z
    .array(
      z.strictObject({
        arn: z.string(),
        externalId: z.string().optional(),
        maxSessionSec: z.int().min(3_600).max(43_200).optional(),
        allowedPrincipals: z.array(z.string()).optional(),
        allowedSubjects: z.array(z.string()).optional(),
      }),
    )
    .optional(),
  identityProviders: z
    .array(
      z.strictObject({
        issuer: z.string(),
        audiences: z.array(z.string()),
        jwks: wireJwks,
      }),
    )
    .optional(),
});

const { values } = parseArgs({
  options: {
    ...OPTIONS,
    "credentials-file": { type: "string" },
    s3: { type: "boolean", default: false },
  },
});
const emulator = await startStsEmulator(await startOptions(values, wireConfig, wireKnobs));

const asked = values["credentials-file"];
const ownFolder = asked === undefined ? await mkdtemp(join(tmpdir(), "evergrant-sts-")) : undefined;
const credentialsFile = asked ?? join(ownFolder ?? "", "credentials");
const { accessKeyId, secretAccessKey } = emulator.baseCredentials;
const profile = [
  "[default]",
  `aws_access_key_id = ${accessKeyId}`,
  `aws_secret_access_key = ${secretAccessKey.reveal()}`,
  "",
];
await writeFile(credentialsFile, profile.join("\n"), { mode: 0o600 });
await chmod(credentialsFile, 0o600);
const s3 = values.s3
  ? await startS3Emulator({ sts: emulator, random: systemRandom, host: values.host })
  : undefined;
const s3Url = s3 === undefined ? {} : { s3Url: s3.url };
process.stdout.write(`${JSON.stringify({ url: emulator.url, credentialsFile, ...s3Url })}\n`);

endAtSignal(async () => {
  await s3?.stop();
  await emulator.stop();
  if (ownFolder !== undefined) await rm(ownFolder, { recursive: true, force: true });
});
