/** moto's STS in place of our emulator: the provider meets an issuer that nobody here wrote. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { awsStsProvider } from "../../src/coordinator/providers/aws-sts/index.ts";
import { type AwsSession, awsSessionSchema } from "../../src/protocol/credential.ts";
import {
  countingContext,
  expectNoSecret,
  failureOf,
  recordingServices,
} from "../contract/support/credential-provider-contract.ts";
import { startOidcIssuer } from "../contract/support/oidc-issuer.ts";
import { type KeyPair, type Moto, startMoto } from "./support/moto.ts";
import { ACCOUNT, openAccount, profileOf, ROLE } from "./support/moto-account.ts";

let dir: string;
let moto: Moto;
let driver: KeyPair;
let stranger: KeyPair;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "evergrant moto-"));
  moto = await startMoto();
  ({ driver, stranger } = await openAccount(moto));
});
afterAll(async () => {
  await moto?.stop();
  await rm(dir, { recursive: true, force: true });
});
beforeEach(async () => {
  await moto.check(true);
  await writeProfile(driver);
});

const writeProfile = (keys: KeyPair): Promise<void> =>
  writeFile(join(dir, "credentials"), profileOf(keys));

function providerOf(options: object) {
  const base = {
    profile: "base",
    credentialsFile: join(dir, "credentials"),
    configFile: join(dir, "none"),
  };
  const common = { region: "eu-west-1", endpoint: moto.url };
  const needsBase = !("webIdentityTokenFile" in options);
  const parsed = awsStsProvider.options.parse({
    ...common,
    ...(needsBase ? { base } : {}),
    ...options,
  });
  return awsStsProvider.create(parsed, recordingServices(dir, []));
}

async function obtainFrom(options: object) {
  const context = countingContext();
  const obtained = await providerOf(options).obtain(context);
  expect(context.counted).toBe(1);
  const session: AwsSession = awsSessionSchema.parse(obtained.material.reveal());
  return { ...obtained, session };
}

const callerOf = async (keys: KeyPair) =>
  ((await moto.aws(["sts", "get-caller-identity"], keys)) as { readonly Arn: string }).Arn;

test("a session from AssumeRole is one that moto knows, lives as asked, and opens what the role may", async () => {
  const { session, expiresAt, issuerTime, attributes } = await obtainFrom({
    action: "AssumeRole",
    roleArn: ROLE,
    sessionName: "nightly",
    durationSec: 1_800,
    tags: { team: "lake" },
    scopes: [{ bucket: "lake-data", prefix: "in", access: "readwrite" }],
  });
  expect(attributes).toEqual({ region: "eu-west-1", accountId: ACCOUNT, roleArn: ROLE });
  expect(Math.abs((expiresAt ?? 0) - (issuerTime ?? 0) - 1_800_000)).toBeLessThan(5_000);
  expect(await callerOf(session)).toBe(`arn:aws:sts::${ACCOUNT}:assumed-role/lake/nightly`);
  const listed = await moto.aws(["s3api", "list-buckets"], session);
  expect(listed).toMatchObject({ Buckets: [{ Name: "lake-data" }] });
});

test("each attempt is a session of its own", async () => {
  const options = { action: "AssumeRole", roleArn: ROLE };
  const [first, second] = [await obtainFrom(options), await obtainFrom(options)];
  expect(first.session.accessKeyId).not.toBe(second.session.accessKeyId);
});

test("AssumeRoleWithWebIdentity takes a token from a file, unsigned", async () => {
  // moto can't check unsigned requests: it fails on them.
  await moto.check(false);
  const oidc = await startOidcIssuer();
  await writeFile(join(dir, "token"), await oidc.token());
  const { attributes, expiresAt } = await obtainFrom({
    action: "AssumeRoleWithWebIdentity",
    roleArn: ROLE,
    webIdentityTokenFile: join(dir, "token"),
  });
  expect(attributes).toMatchObject({ accountId: ACCOUNT });
  expect(expiresAt).toBeGreaterThan(0);
});

test("GetSessionToken gives a session with an end", async () => {
  const { expiresAt, issuerTime } = await obtainFrom({
    action: "GetSessionToken",
    durationSec: 900,
  });
  expect(Math.abs((expiresAt ?? 0) - (issuerTime ?? 0) - 900_000)).toBeLessThan(5_000);
});

test("a user without the permission is denied", async () => {
  await writeProfile(stranger);
  const error = await failureOf(
    providerOf({ action: "AssumeRole", roleArn: ROLE }).obtain(countingContext()),
  );
  expect(error.code).toBe("ISSUER_DENIED");
  expectNoSecret(error, [stranger.secretAccessKey]);
});

test("a wrong secret and an unknown key are a rejected identity", async () => {
  for (const wrong of [
    { ...driver, secretAccessKey: "wrong-secret-access-key" },
    { ...driver, accessKeyId: "AKIAUNKNOWNUNKNOWN00" },
  ]) {
    await writeProfile(wrong);
    const error = await failureOf(
      providerOf({ action: "AssumeRole", roleArn: ROLE }).obtain(countingContext()),
    );
    expect(error.code).toBe("ISSUER_IDENTITY_REJECTED");
    expectNoSecret(error, [wrong.secretAccessKey]);
  }
});
