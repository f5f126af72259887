/** Whose credentials the coordinator asks with, and for whom: profiles, web identity, two accounts. */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { GetSessionTokenCommand, STSClient } from "@aws-sdk/client-sts";
import { beforeAll, describe, expect, it } from "vitest";
import { freePort } from "../../../src/embedded/answers.ts";
import { type StsEmulator, startStsEmulator } from "../../../src/emulators/aws-sts/server.ts";
import { systemClock, systemRandom } from "../../../src/runtime/system-clock.ts";
import type { Agent } from "../../../src/worker-agent/agent.ts";
import { startOidcIssuer } from "../../contract/support/oidc-issuer.ts";
import { eventually } from "../../support/eventually.ts";
import { generationAt, startJobRig, watchForGaps } from "../../support/job-rig.ts";
import { startNats, startRedis, type TestServer } from "../../support/servers.ts";

let nats: TestServer;
let redis: TestServer;

beforeAll(async () => {
  [nats, redis] = await Promise.all([startNats(), startRedis()]);
});

/** A provider's entry; `more` is YAML. */
const assume = (name: string, sts: StsEmulator, more: string, account = "123456789012"): string =>
  `  - {name: ${name}, kind: aws-sts, action: AssumeRole, roleArn: "arn:aws:iam::${account}:role/${name}", region: eu-west-1, endpoint: "${sts.url}", callTimeoutSec: 3, ${more}}`;

const PROFILE = "base: {profile: driver, credentialsFile: aws/credentials, configFile: aws/config}";

interface Keys {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
}

async function writeProfile(dir: string, keys: Keys): Promise<void> {
  await mkdir(join(dir, "aws"), { recursive: true });
  await writeFile(join(dir, "aws", "config"), "");
  const token = keys.sessionToken === undefined ? "" : `aws_session_token = ${keys.sessionToken}\n`;
  const lines = `aws_access_key_id = ${keys.accessKeyId}\naws_secret_access_key = ${keys.secretAccessKey}\n`;
  await writeFile(join(dir, "aws", "credentials"), `[driver]\n${lines}${token}`, { mode: 0o600 });
}

/** The emulator's own key, which never ends. */
const keysOf = (sts: StsEmulator): Keys => ({
  accessKeyId: sts.baseCredentials.accessKeyId,
  secretAccessKey: sts.baseCredentials.secretAccessKey.reveal(),
});

/** What another program on the driver's host would put into the profile: a session that ends. */
async function sessionKeys(sts: StsEmulator): Promise<Keys> {
  const client = new STSClient({
    region: "eu-west-1",
    endpoint: sts.url,
    credentials: keysOf(sts),
  });
  const { Credentials: found } = await client.send(new GetSessionTokenCommand({}));
  client.destroy();
  return {
    accessKeyId: found?.AccessKeyId ?? "",
    secretAccessKey: found?.SecretAccessKey ?? "",
    sessionToken: found?.SessionToken ?? "",
  };
}

describe("the coordinator's own credentials", () => {
  it("come from a profile beside the configuration, for every rotation", async () => {
    const rig = await startJobRig({ nats, redis, job: "profile", lifetimeMs: 6000 });
    // What the environment says must not matter.
    process.env["AWS_ACCESS_KEY_ID"] = "AKIAOFTHEENVIRONMENT";
    await writeProfile(rig.dir, keysOf(rig.sts));
    rig.configure([assume("lake", rig.sts, PROFILE)]);
    const coordinator = await rig.coordinator();
    await coordinator.ready();
    const agent = await rig.agent();
    await generationAt(agent, 2);
    expect(rig.sts.count("AssumeRole")).toBe(2);
  });

  it("come from a web identity, whose sessions end within the job and are obtained anew", async () => {
    const oidc = await startOidcIssuer();
    const rig = await startJobRig({
      nats,
      redis,
      job: "web-identity",
      // Renewed after 6 s: with half of the base session's life over, and 4 s left.
      lifetimeMs: 10_000,
      ratio: 0.6,
      sts: { identityProviders: [oidc.provider] },
    });
    await writeFile(join(rig.dir, "token"), await oidc.token());
    const web = `base: {webIdentity: {roleArn: "arn:aws:iam::123456789012:role/driver", tokenFile: token}}`;
    rig.configure([assume("lake", rig.sts, web)]);
    const coordinator = await rig.coordinator();
    await coordinator.ready();
    const agent = await rig.agent();
    await generationAt(agent, 1);
    const gap = watchForGaps(agent, "lake");
    await generationAt(agent, 3);
    expect(gap.stop()).toBe(0);
    expect(rig.issued()).toBe(3);
    // Each base session was past half of its life at the next rotation, and read again.
    expect(rig.sts.count("AssumeRoleWithWebIdentity", "ok")).toBe(3);
    const [lake] = coordinator.status().providers;
    expect(lake).toMatchObject({ issuerCalls: 3, issuerRequests: 6 });
  });

  it("may expire halfway: the refusal is named, what is held is served, and a rewritten profile heals it", async () => {
    // The profile's session lives for the first call and not for the second, 11 s later; 9 s are left then.
    const rig = await startJobRig({ nats, redis, job: "halfway", lifetimeMs: 8000, ratio: 0.55 });
    await writeProfile(rig.dir, await sessionKeys(rig.sts));
    rig.sts.knobs.lifetimeMs = 20_000;
    rig.configure([assume("lake", rig.sts, PROFILE)]);
    const coordinator = await rig.coordinator();
    await coordinator.ready();
    const agent = await rig.agent();
    await generationAt(agent, 1);
    const gap = watchForGaps(agent, "lake");
    await eventually(
      () => coordinator.status().providers[0]?.lastError?.code === "ISSUER_IDENTITY_REJECTED",
    );
    expect(coordinator.status().providers[0]?.lastError?.message).toContain("ExpiredToken");
    expect(coordinator.status().ready).toBe(true);
    await writeProfile(rig.dir, await sessionKeys(rig.sts));
    await generationAt(agent, 2);
    expect(gap.stop()).toBe(0);
    expect(rig.issued()).toBe(2);
    // One attempt, one more with the identity read anew, then the retry rule: never a storm (I11).
    const refused = rig.sts.count("AssumeRole") - rig.issued();
    expect(refused).toBeGreaterThanOrEqual(1);
    expect(refused).toBeLessThanOrEqual(4);
  });
});

describe("two AWS accounts in one job", () => {
  it("each have their own port and schedule, and a consumer of one never sees the other's", async () => {
    const rig = await startJobRig({ nats, redis, job: "accounts", lifetimeMs: 6000 });
    const payroll = await startStsEmulator({
      clock: systemClock,
      random: systemRandom,
      knobs: { lifetimeMs: 60_000 },
    });
    rig.atEnd(() => payroll.stop());
    await writeProfile(rig.dir, keysOf(payroll));
    rig.configure([
      assume("lake", rig.sts, "durationSec: 3600", "111111111111"),
      assume("payroll", payroll, PROFILE, "222222222222"),
    ]);
    const coordinator = await rig.coordinator();
    await coordinator.ready();
    const [one, two] = [await freePort(), await freePort()];
    const agent = await rig.sidecar({
      config: {
        receivers: [
          { kind: "aws-container", provider: "lake", port: one },
          { kind: "aws-container", provider: "payroll", port: two },
        ],
      },
    });
    await agent.ready(10_000);
    const [lake, first] = [await asked(agent, "lake", one), await asked(agent, "payroll", two)];
    expect([rig.sts.findKey(lake) !== undefined, payroll.findKey(lake)]).toEqual([true, undefined]);
    expect([payroll.findKey(first) !== undefined, rig.sts.findKey(first)]).toEqual([
      true,
      undefined,
    ]);
    // The short-lived one is renewed twice; the other one's schedule does not move.
    const planned = () => providerOf("payroll").nextAttemptInMs ?? 0;
    const providerOf = (name: string) => {
      const found = coordinator.status().providers.find(({ provider }) => provider === name);
      if (found === undefined) throw new Error(`no provider ${name}`);
      return found;
    };
    const [due, began] = [planned(), systemClock.now().mono];
    await eventually(() => rig.issued() === 3);
    const passed = systemClock.now().mono - began;
    expect(Math.abs(planned() + passed - due)).toBeLessThan(300);
    await eventually(async () => (await asked(agent, "lake", one)) !== lake);
    expect(await asked(agent, "payroll", two)).toBe(first);
    expect(payroll.count("AssumeRole")).toBe(1);
    expect(providerOf("lake").issuerCalls).toBe(rig.issued());
  });
});

/** The access key that a consumer of this provider gets from this port. */
async function asked(agent: Agent, provider: string, port: number): Promise<string> {
  const found = agent.environments().find((one) => one.provider === provider)?.environment.set;
  const url = found?.["AWS_CONTAINER_CREDENTIALS_FULL_URI"] ?? "";
  expect(new URL(url).port).toBe(String(port));
  const token = await readFile(found?.["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"] ?? "", "utf8");
  const answer = await fetch(url, { headers: { authorization: token } });
  return ((await answer.json()) as { readonly AccessKeyId: string }).AccessKeyId;
}
