/**
 * Runs the emulator alone on a port, for system tests and by hand:
 * `node src/emulators/aws-sts/main.ts [--port N] [--host H] [--knobs JSON] [--config FILE] [--credentials-file FILE] [--s3]`.
 * Prints one line of JSON, `{"url":…,"credentialsFile":…}`, once it listens; `--s3` starts the protected
 * store beside it and adds `s3Url`. The file is an AWS shared
 * credentials file (mode 0600) with the base key as its default profile; one that was not asked for by
 * name is removed at the end. SIGINT and SIGTERM end it with 0.
 */
import { chmod, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import type { JSONWebKeySet } from "jose";
import { z } from "zod";
import { EvergrantError } from "../../protocol/errors.ts";
import { systemClock, systemRandom } from "../../runtime/system-clock.ts";
import { startS3Emulator } from "../aws-s3/server.ts";
import { fromWire, wireKnobs } from "./knobs.ts";
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
        jwks: z.custom<JSONWebKeySet>(
          (value) => z.object({ keys: z.array(z.object()) }).safeParse(value).success,
        ),
      }),
    )
    .optional(),
});

/** Parses and checks one JSON argument. @throws EvergrantError CONFIG_INVALID */
function checked<T>(schema: z.ZodType<T>, text: string, what: string): T {
  try {
    return schema.parse(JSON.parse(text));
  } catch (cause) {
    throw new EvergrantError("CONFIG_INVALID", `${what} is not what is expected`, { cause });
  }
}

const { values } = parseArgs({
  options: {
    port: { type: "string", default: "0" },
    host: { type: "string", default: "127.0.0.1" },
    knobs: { type: "string", default: "{}" },
    config: { type: "string" },
    "credentials-file": { type: "string" },
    s3: { type: "boolean", default: false },
  },
});

const config =
  values.config === undefined
    ? {}
    : checked(wireConfig, await readFile(values.config, "utf8"), "--config");
const emulator = await startStsEmulator({
  clock: systemClock,
  random: systemRandom,
  host: values.host,
  port: Number(values.port),
  knobs: fromWire(checked(wireKnobs, values.knobs, "--knobs"), systemClock.now()),
  ...config,
});

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

async function end(): Promise<void> {
  await s3?.stop();
  await emulator.stop();
  if (ownFolder !== undefined) await rm(ownFolder, { recursive: true, force: true });
}
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => {
    end().then(
      () => process.exit(0),
      () => process.exit(1),
    );
  });
}
