/** Provider `aws-sts` against the STS emulator, over HTTP, for each of its actions. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { awsStsProvider } from "../../src/coordinator/providers/aws-sts/index.ts";
import { randomKeyPair } from "../../src/emulators/aws-sts/keyring.ts";
import type { StsCall } from "../../src/emulators/aws-sts/knobs.ts";
import {
  type BaseCredentials,
  type StsEmulator,
  startStsEmulator,
} from "../../src/emulators/aws-sts/server.ts";
import { seconds } from "../../src/protocol/time.ts";
import { systemClock, systemRandom } from "../../src/runtime/system-clock.ts";
import { ManualClock } from "../support/manual-clock.ts";
import {
  countingContext,
  credentialProviderContract,
  expectNoSecret,
  failureOf,
  type ProviderRig,
  recordingServices,
} from "./support/credential-provider-contract.ts";
import { type OidcIssuer, startOidcIssuer } from "./support/oidc-issuer.ts";

const ROLE = "arn:aws:iam::123456789012:role/lake";
const BASE_ROLE = "arn:aws:iam::123456789012:role/coordinator";

const POLICY = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}]}`;

interface Bench {
  readonly dir: string;
  readonly sts: StsEmulator;
  readonly oidc: OidcIssuer;
  readonly logged: unknown[];
  readonly common: { readonly region: string; readonly endpoint: string };
  /** Options of `base` for the emulator's own long-lived key. */
  readonly profile: Readonly<Record<string, string>>;
  /** The text of a profile with another key that STS knows. */
  readonly otherProfile: string;
  path(name: string): string;
  writeProfile(text: string): Promise<void>;
  writeToken(token: string): Promise<void>;
}

async function openBench(): Promise<Bench> {
  const dir = await mkdtemp(join(tmpdir(), "evergrant aws-sts-"));
  const oidc = await startOidcIssuer();
  const otherKey = randomKeyPair(systemRandom, "AKIA");
  const sts = await startStsEmulator({
    clock: systemClock,
    random: systemRandom,
    identityProviders: [oidc.provider],
    baseKeys: [randomKeyPair(systemRandom, "AKIA"), otherKey],
  });
  const path = (name: string): string => join(dir, name);
  const bench: Bench = {
    dir,
    sts,
    oidc,
    logged: [],
    common: { region: "eu-west-1", endpoint: sts.url },
    profile: { profile: "base", credentialsFile: path("credentials"), configFile: path("config") },
    otherProfile: profileOf(otherKey),
    path,
    writeProfile: (text) => writeFile(path("credentials"), text, { mode: 0o600 }),
    writeToken: (token) => writeFile(path("token"), token, { mode: 0o600 }),
  };
  await writeFile(path("config"), "");
  await bench.writeProfile(profileOf(sts.baseCredentials));
  await bench.writeToken(await oidc.token());
  return bench;
}

const profileOf = ({ accessKeyId, secretAccessKey }: BaseCredentials): string =>
  `[base]\naws_access_key_id = ${accessKeyId}\naws_secret_access_key = ${secretAccessKey.reveal()}\n`;

async function closeBench({ sts, dir }: Bench): Promise<void> {
  await sts.stop();
  await rm(dir, { recursive: true, force: true });
}

function providerOf(bench: Bench, options: object, clock = systemClock) {
  const parsed = awsStsProvider.options.parse({ ...bench.common, ...options });
  return awsStsProvider.create(parsed, { ...recordingServices(bench.dir, bench.logged), clock });
}

async function rigOf(
  bench: Bench,
  options: object,
  identity: "profile" | "token",
): Promise<ProviderRig> {
  const { sts, oidc } = bench;
  const waiting: (() => void)[] = [];
  let hangingCalls = 0;
  return {
    provider: providerOf(bench, options),
    kind: "aws-session",
    breakIssuer(fault) {
      const knobs = sts.knobs;
      if (fault === "throttled") knobs.throttle = true;
      if (fault === "broken") knobs.fail5xx = true;
      if (fault === "denied") knobs.deny = true;
      if (fault === "identity-rejected") {
        const code = identity === "token" ? "ExpiredTokenException" : "ExpiredToken";
        knobs.refuse = { code, status: identity === "token" ? 400 : 403 };
      }
      if (fault === "garbage") knobs.garbage = true;
      if (fault === "no-expiry") knobs.noExpiration = true;
      if (fault === "past-expiry") knobs.expiryInPast = true;
      if (fault === "hangs") {
        knobs.hang = true;
        sts.onCall = () => {
          hangingCalls += 1;
          for (const resolve of waiting.splice(0)) resolve();
        };
      }
    },
    mendIssuer: () =>
      void Object.assign(sts.knobs, {
        throttle: false,
        fail5xx: false,
        deny: false,
        refuse: false,
        garbage: false,
      }),
    requestsSeen: () => sts.counters.total,
    hanging: () =>
      hangingCalls > 0 ? Promise.resolve() : new Promise((resolve) => waiting.push(resolve)),
    baseSecrets: [sts.baseCredentials.secretAccessKey.reveal(), ...oidc.issued],
    async replaceIdentity() {
      if (identity === "token") {
        await oidc.rotateKey();
        await bench.writeToken(await oidc.token());
        return;
      }
      const old = sts.baseCredentials.accessKeyId;
      const refusesOld = (call: StsCall) => call.accessKeyId === old;
      sts.knobs.refuse = { code: "InvalidClientTokenId", status: 403, when: refusesOld };
      await bench.writeProfile(bench.otherProfile);
    },
    logged: bench.logged,
    close: () => closeBench(bench),
  };
}

credentialProviderContract("aws-sts AssumeRole", async () => {
  const bench = await openBench();
  return rigOf(bench, { action: "AssumeRole", roleArn: ROLE, base: bench.profile }, "profile");
});

credentialProviderContract("aws-sts AssumeRoleWithWebIdentity", async () => {
  const bench = await openBench();
  const options = { roleArn: ROLE, webIdentityTokenFile: bench.path("token") };
  return rigOf(bench, { action: "AssumeRoleWithWebIdentity", ...options }, "token");
});

credentialProviderContract("aws-sts GetSessionToken", async () => {
  const bench = await openBench();
  return rigOf(bench, { action: "GetSessionToken", base: bench.profile }, "profile");
});

describe("aws-sts", () => {
  let bench: Bench;
  beforeEach(async () => {
    bench = await openBench();
  });
  afterEach(() => closeBench(bench));
  const assumeRole = (more: object = {}) => ({
    action: "AssumeRole",
    roleArn: ROLE,
    base: bench.profile,
    ...more,
  });

  test("what the configuration states arrives at STS, and nothing else does", async () => {
    const provider = providerOf(
      bench,
      assumeRole({
        durationSec: 1_800,
        sessionName: "nightly",
        sourceIdentity: "alice",
        tags: { team: "lake", cost: "" },
        transitiveTagKeys: ["team"],
        policy: JSON.parse(POLICY),
        policyArns: ["arn:aws:iam::aws:policy/ReadOnlyAccess"],
      }),
    );
    const { attributes, expiresAt, issuerTime } = await provider.obtain(countingContext());
    expect(attributes).toEqual({ region: "eu-west-1", accountId: "123456789012", roleArn: ROLE });
    expect(bench.sts.counters.issued[0]).toMatchObject({
      sessionName: "nightly",
      sourceIdentity: "alice",
      tags: { team: "lake", cost: "" },
      policy: POLICY,
      policyArns: ["arn:aws:iam::aws:policy/ReadOnlyAccess"],
      requestedDurationSec: 1_800,
    });
    expect((expiresAt ?? 0) - (issuerTime ?? 0)).toBe(1_800_000);
  });

  test("the lifetime that STS returns counts, not the one that was asked for", async () => {
    bench.sts.knobs.lifetimeMs = 20_000;
    const { expiresAt, issuerTime } = await providerOf(bench, assumeRole()).obtain(
      countingContext(),
    );
    expect((expiresAt ?? 0) - (issuerTime ?? 0)).toBeLessThanOrEqual(20_000);
  });

  test("scopes become the session's policy, and an empty list denies all", async () => {
    const scopes = [{ bucket: "data", prefix: "in", access: "read" }];
    await providerOf(bench, assumeRole({ scopes })).obtain(countingContext());
    await providerOf(bench, assumeRole({ scopes: [] })).obtain(countingContext());
    const [scoped, denied] = bench.sts.counters.issued.map(({ policy }) => policy);
    expect(scoped).toContain("arn:aws:s3:::data/in/*");
    expect(JSON.parse(denied ?? "")).toEqual({
      Version: "2012-10-17",
      Statement: [{ Effect: "Deny", Action: "*", Resource: "*" }],
    });
  });

  test("a policy file is read at each attempt, and one that is no policy fails closed", async () => {
    const provider = providerOf(bench, assumeRole({ policyFile: bench.path("policy.json") }));
    const missing = await failureOf(provider.obtain(countingContext()));
    expect(missing.code).toBe("PROVIDER_INPUT_MISSING");
    for (const text of ["", "{}", "not json"]) {
      await writeFile(bench.path("policy.json"), text);
      expect((await failureOf(provider.obtain(countingContext()))).code).toBe("CONFIG_INVALID");
    }
    expect(bench.sts.counters.total).toBe(0);
    await writeFile(bench.path("policy.json"), JSON.stringify(JSON.parse(POLICY), null, 2));
    await provider.obtain(countingContext());
    expect(bench.sts.counters.issued[0]?.policy).toBe(POLICY);
  });

  test("the web identity token is read anew at each attempt, so that a rotated one heals a refusal", async () => {
    const options = { roleArn: ROLE, webIdentityTokenFile: bench.path("token") };
    const provider = providerOf(bench, { action: "AssumeRoleWithWebIdentity", ...options });
    await bench.writeToken(await bench.oidc.token("subject", -60));
    const error = await failureOf(provider.obtain(countingContext()));
    expect(error.code).toBe("ISSUER_IDENTITY_REJECTED");
    await bench.writeToken(`${await bench.oidc.token()}\n`);
    await provider.obtain(countingContext({ freshIdentity: true }));
  });

  test("paths are relative to the configuration's folder", async () => {
    const profile = { profile: "base", credentialsFile: "credentials", configFile: "./config" };
    await writeFile(
      bench.path("policy.json"),
      '{"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "*", "Resource": "*"}]}',
    );
    const roleArn = ROLE;
    const webIdentityTokenFile = "token";
    for (const options of [
      assumeRole({ base: profile, policyFile: "policy.json" }),
      assumeRole({ base: { webIdentity: { roleArn, tokenFile: "token" } } }),
      { action: "AssumeRoleWithWebIdentity", roleArn, webIdentityTokenFile },
      { action: "GetSessionToken", base: profile },
    ]) {
      await providerOf(bench, options).obtain(countingContext());
    }
  });

  test("a missing token file or profile costs no request", async () => {
    const web = { roleArn: ROLE, webIdentityTokenFile: bench.path("none") };
    const noToken = providerOf(bench, { action: "AssumeRoleWithWebIdentity", ...web });
    const noProfile = providerOf(
      bench,
      assumeRole({ base: { ...bench.profile, profile: "nobody" } }),
    );
    for (const provider of [noToken, noProfile]) {
      const context = countingContext();
      expect((await failureOf(provider.obtain(context))).code).toBe("PROVIDER_INPUT_MISSING");
      expect(context.counted).toBe(0);
    }
  });

  test("a profile that is rewritten is found at the next attempt", async () => {
    const provider = providerOf(bench, assumeRole());
    await bench.writeProfile(
      "[base]\naws_access_key_id = AKIAAAAAAAAAAAAAAAAA\naws_secret_access_key = stale-secret-key\n",
    );
    const error = await failureOf(provider.obtain(countingContext()));
    expect(error.code).toBe("ISSUER_IDENTITY_REJECTED");
    expectNoSecret(error, ["stale-secret-key"]);
    await bench.writeProfile(profileOf(bench.sts.baseCredentials));
    await provider.obtain(countingContext());
  });

  test("base credentials from web identity are reused up to half of their life, then read again", async () => {
    const clock = new ManualClock({ wall: systemClock.now().wall });
    const webIdentity = { roleArn: BASE_ROLE, tokenFile: bench.path("token") };
    const provider = providerOf(bench, assumeRole({ base: { webIdentity } }), clock);
    const counts: number[] = [];
    const attempt = async (more = {}) => {
      const context = countingContext(more);
      await provider.obtain(context);
      counts.push(context.counted);
    };
    await attempt();
    await attempt();
    clock.advance(seconds(1_790));
    await attempt();
    clock.advance(seconds(20));
    await attempt();
    await attempt({ freshIdentity: true });
    expect(counts).toEqual([2, 1, 1, 2, 2]);
    expect(bench.sts.counters.total).toBe(8);
    expect(bench.sts.count("AssumeRoleWithWebIdentity")).toBe(3);
  });

  test("base credentials that cannot be refreshed half-way serve until their own end", async () => {
    const clock = new ManualClock({ wall: systemClock.now().wall });
    const webIdentity = { roleArn: BASE_ROLE, tokenFile: bench.path("token") };
    const provider = providerOf(bench, assumeRole({ base: { webIdentity } }), clock);
    await provider.obtain(countingContext());
    bench.sts.knobs.throttle = { actions: ["AssumeRoleWithWebIdentity"] };
    clock.advance(seconds(2_000));
    await provider.obtain(countingContext());
    expect(bench.logged).toContainEqual(expect.objectContaining({ level: "warn" }));
    clock.advance(seconds(2_000));
    const error = await failureOf(provider.obtain(countingContext()));
    expect(error.code).toBe("ISSUER_THROTTLED");
  });

  test("a profile that assumes a role does so through the same counted client", async () => {
    await writeFile(
      bench.path("config"),
      `[profile chained]\nrole_arn = ${BASE_ROLE}\nsource_profile = base\nregion = us-east-1\n`,
    );
    const provider = providerOf(
      bench,
      assumeRole({ base: { ...bench.profile, profile: "chained" }, durationSec: 7_200 }),
    );
    const context = countingContext();
    const error = await failureOf(provider.obtain(context));
    expect(error.code).toBe("ISSUER_REQUEST_INVALID");
    expect(context.counted).toBe(2);
    expect(bench.sts.counters.total).toBe(2);
    expect(bench.logged).toContainEqual(
      expect.objectContaining({ message: expect.stringContaining("role chaining") }),
    );
  });

  test("role chaining that is known from the configuration is warned about before any call", () => {
    const webIdentity = { roleArn: BASE_ROLE, tokenFile: bench.path("token") };
    providerOf(bench, assumeRole({ base: { webIdentity }, durationSec: 3_600 }));
    expect(bench.logged).toHaveLength(0);
    providerOf(bench, assumeRole({ base: { webIdentity }, durationSec: 7_200 }));
    expect(bench.logged).toHaveLength(1);
  });

  describe("without a base, the SDK's default chain is used", () => {
    const chained = () => providerOf(bench, { action: "AssumeRole", roleArn: ROLE });
    beforeEach(() => {
      for (const name of Object.keys(process.env)) {
        if (name.startsWith("AWS_")) vi.stubEnv(name, undefined);
      }
      vi.stubEnv("AWS_SHARED_CREDENTIALS_FILE", bench.path("none"));
      vi.stubEnv("AWS_CONFIG_FILE", bench.path("config"));
      vi.stubEnv("AWS_EC2_METADATA_DISABLED", "true");
    });
    afterEach(() => {
      vi.unstubAllEnvs();
    });

    test("with keys in the environment", async () => {
      const { accessKeyId, secretAccessKey } = bench.sts.baseCredentials;
      vi.stubEnv("AWS_ACCESS_KEY_ID", accessKeyId);
      vi.stubEnv("AWS_SECRET_ACCESS_KEY", secretAccessKey.reveal());
      const context = countingContext();
      await chained().obtain(context);
      expect(context.counted).toBe(1);
    });

    test("with a web identity in the environment, whose request is counted, too", async () => {
      vi.stubEnv("AWS_ROLE_ARN", BASE_ROLE);
      vi.stubEnv("AWS_WEB_IDENTITY_TOKEN_FILE", bench.path("token"));
      const context = countingContext();
      await chained().obtain(context);
      expect(context.counted).toBe(2);
      expect(bench.sts.counters.total).toBe(2);
    });

    test("with nothing in it, the input is missing and nothing is sent", async () => {
      const error = await failureOf(chained().obtain(countingContext()));
      expect(error.code).toBe("PROVIDER_INPUT_MISSING");
      expect(bench.sts.counters.total).toBe(0);
    });
  });

  test("a profile's credential process runs again half-way through what it gave", async () => {
    const { accessKeyId, secretAccessKey } = bench.sts.baseCredentials;
    const clock = new ManualClock({ wall: systemClock.now().wall });
    const script = `require("node:fs").appendFileSync(process.argv[1], "x");
      console.log(JSON.stringify({ Version: 1, AccessKeyId: "${accessKeyId}",
        SecretAccessKey: "${secretAccessKey.reveal()}",
        Expiration: new Date(Date.now() + 3600e3).toISOString() }))`;
    await writeFile(
      bench.path("process.cjs"),
      script.replace("process.argv[1]", "process.argv[2]"),
    );
    const command = [process.execPath, bench.path("process.cjs"), bench.path("runs")];
    await writeFile(
      bench.path("config"),
      `[profile process]\ncredential_process = ${command.map((part) => `"${part}"`).join(" ")}\n`,
    );
    const base = { ...bench.profile, profile: "process" };
    const provider = providerOf(bench, assumeRole({ base }), clock);
    const runs: number[] = [];
    for (const wait of [0, 1_000, 1_000, 100]) {
      clock.advance(seconds(wait));
      await provider.obtain(countingContext());
      runs.push((await readFile(bench.path("runs"), "utf8")).length);
    }
    expect(runs).toEqual([1, 1, 2, 2]);
  });

  test("a clock that is far off costs one refused attempt, and is dated right from then on", async () => {
    bench.sts.knobs.clockSkewMs = 20 * 60_000;
    const provider = providerOf(bench, assumeRole());
    const error = await failureOf(provider.obtain(countingContext()));
    expect(error.code).toBe("ISSUER_IDENTITY_REJECTED");
    const context = countingContext({ freshIdentity: true });
    const { issuerTime } = await provider.obtain(context);
    expect(context.counted).toBe(1);
    expect(Math.abs((issuerTime ?? 0) - bench.sts.now())).toBeLessThan(30_000);
  });

  test("an STS that nobody listens for is unavailable, and the reason is named", async () => {
    const provider = providerOf(bench, assumeRole());
    await bench.sts.stop();
    const error = await failureOf(provider.obtain(countingContext()));
    expect(error.code).toBe("ISSUER_UNAVAILABLE");
    expect(error.details).toMatchObject({ reason: "ECONNREFUSED" });
  });

  test("a dropped answer is transient: whether it was issued is unknown", async () => {
    bench.sts.knobs.dropAnswer = 1;
    const context = countingContext();
    const error = await failureOf(providerOf(bench, assumeRole()).obtain(context));
    expect(error.code).toBe("ISSUER_UNAVAILABLE");
    expect(context.counted).toBe(1);
  });
});
