/** AssumeRoleWithWebIdentity of the STS emulator, under the real SDK client and with tokens made by jose. */
import {
  AssumeRoleWithWebIdentityCommand,
  type AssumeRoleWithWebIdentityCommandInput,
  STSClient,
} from "@aws-sdk/client-sts";
import { exportJWK, generateKeyPair, type JSONWebKeySet, SignJWT } from "jose";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type StsEmulator, startStsEmulator } from "../../src/emulators/aws-sts/server.ts";
import { systemClock, systemRandom } from "../../src/runtime/system-clock.ts";

const ISSUER = "https://oidc.example.test/cluster";
const ROLE = "arn:aws:iam::123456789012:role/pods";
const FEDERATED = "arn:aws:iam::123456789012:oidc-provider/oidc.example.test/cluster";

type KeyPair = Awaited<ReturnType<typeof generateKeyPair>>;
let trusted: KeyPair;
let stranger: KeyPair;
let elliptic: KeyPair;
let jwks: JSONWebKeySet;
let sts: StsEmulator;
let client: STSClient;

const nowSec = (): number => Math.floor(systemClock.now().wall / 1000);

interface TokenOptions {
  readonly claims?: Readonly<Record<string, unknown>>;
  readonly key?: KeyPair;
  readonly header?: { readonly alg: string; readonly kid: string };
}

function tokenOf({ claims = {}, key = trusted, header }: TokenOptions = {}): Promise<string> {
  const now = nowSec();
  const usual = { iss: ISSUER, sub: "pod:etl", aud: "sts.amazonaws.com", iat: now, exp: now + 600 };
  return new SignJWT({ ...usual, ...claims })
    .setProtectedHeader(header ?? { alg: "RS256", kid: "rsa" })
    .sign(key.privateKey);
}

const assume = (
  WebIdentityToken: string,
  more: Partial<AssumeRoleWithWebIdentityCommandInput> = {},
) =>
  client.send(
    new AssumeRoleWithWebIdentityCommand({
      RoleArn: ROLE,
      RoleSessionName: "pod-1",
      WebIdentityToken,
      ...more,
    }),
  );

beforeAll(async () => {
  trusted = await generateKeyPair("RS256", { extractable: true });
  stranger = await generateKeyPair("RS256", { extractable: true });
  elliptic = await generateKeyPair("ES256", { extractable: true });
});
beforeEach(async () => {
  jwks = {
    keys: [
      { ...(await exportJWK(trusted.publicKey)), kid: "rsa", alg: "RS256" },
      { ...(await exportJWK(elliptic.publicKey)), kid: "ec", alg: "ES256" },
    ],
  };
  sts = await startStsEmulator({
    clock: systemClock,
    random: systemRandom,
    roles: [
      {
        arn: ROLE,
        maxSessionSec: 43_200,
        allowedSubjects: ["pod:etl"],
        allowedPrincipals: [FEDERATED],
      },
    ],
    identityProviders: [{ issuer: ISSUER, audiences: ["sts.amazonaws.com"], jwks }],
  });
  client = new STSClient({ endpoint: sts.url, region: "eu-west-1", maxAttempts: 1 });
});
afterEach(async () => {
  client.destroy();
  await sts.stop();
});

describe("a good token", () => {
  it("is answered, unsigned, with a credential of up to 12 h and what the token said", async () => {
    const answer = await assume(await tokenOf(), { DurationSeconds: 43_200 });
    expect(answer).toMatchObject({
      SubjectFromWebIdentityToken: "pod:etl",
      Audience: "sts.amazonaws.com",
      Provider: FEDERATED,
      AssumedRoleUser: { Arn: "arn:aws:sts::123456789012:assumed-role/pods/pod-1" },
    });
    expect((answer.Credentials?.Expiration?.getTime() ?? 0) - sts.now()).toBeGreaterThan(
      43_190_000,
    );
  });

  it("may be signed with ES256", async () => {
    await assume(await tokenOf({ key: elliptic, header: { alg: "ES256", kid: "ec" } }));
  });

  it("brings session tags and SourceIdentity as claims", async () => {
    const claims = {
      "https://aws.amazon.com/tags": {
        principal_tags: { team: ["a"] },
        transitive_tag_keys: ["team"],
      },
      "https://aws.amazon.com/source_identity": "alice",
    };
    expect((await assume(await tokenOf({ claims }))).SourceIdentity).toBe("alice");
    expect(sts.counters.issued[0]).toMatchObject({ tags: { team: "a" }, sourceIdentity: "alice" });
  });

  it("verifies as soon as its key has joined the key set", async () => {
    const token = await tokenOf({ key: stranger, header: { alg: "RS256", kid: "new" } });
    await expect(assume(token)).rejects.toMatchObject({ name: "InvalidIdentityTokenException" });
    jwks.keys.push({ ...(await exportJWK(stranger.publicKey)), kid: "new", alg: "RS256" });
    await assume(token);
  });
});

describe("a bad token", () => {
  it.each<[string, () => Promise<string>, string, number]>([
    [
      "that has expired",
      () => tokenOf({ claims: { exp: nowSec() - 1 } }),
      "ExpiredTokenException",
      400,
    ],
    [
      "without exp",
      () => tokenOf({ claims: { exp: undefined } }),
      "InvalidIdentityTokenException",
      400,
    ],
    [
      "without sub",
      () => tokenOf({ claims: { sub: undefined } }),
      "InvalidIdentityTokenException",
      400,
    ],
    [
      "from the future",
      () => tokenOf({ claims: { iat: nowSec() + 900 } }),
      "InvalidIdentityTokenException",
      400,
    ],
    [
      "for another audience",
      () => tokenOf({ claims: { aud: "other" } }),
      "InvalidIdentityTokenException",
      400,
    ],
    [
      "of another issuer",
      () => tokenOf({ claims: { iss: "https://else" } }),
      "InvalidIdentityTokenException",
      400,
    ],
    [
      "signed with another key",
      () => tokenOf({ key: stranger }),
      "InvalidIdentityTokenException",
      400,
    ],
    ["that is no JWT", async () => "not-a-token", "InvalidIdentityTokenException", 400],
    [
      "for a subject that the role does not trust",
      () => tokenOf({ claims: { sub: "pod:other" } }),
      "AccessDenied",
      403,
    ],
    ["over 20000 characters", async () => "x".repeat(20_001), "ValidationError", 400],
  ])("%s is refused and never repeated in the error", async (_what, make, name, status) => {
    const token = await make();
    const error = await assume(token).then(
      () => undefined,
      (thrown: Error) => thrown,
    );
    expect(error).toMatchObject({ name, $metadata: { httpStatusCode: status } });
    expect(error?.message).not.toContain(token);
    expect(sts.counters.issued).toEqual([]);
  });

  it("whose payload was changed is refused", async () => {
    const [header, payload, signature] = (await tokenOf()).split(".");
    const claims = JSON.parse(Buffer.from(payload ?? "", "base64url").toString());
    const forged = Buffer.from(JSON.stringify({ ...claims, exp: claims.exp + 1 })).toString(
      "base64url",
    );
    await expect(assume(`${header}.${forged}.${signature}`)).rejects.toMatchObject({
      name: "InvalidIdentityTokenException",
    });
  });

  it("with alg none is refused", async () => {
    const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");
    const claims = {
      iss: ISSUER,
      sub: "pod:etl",
      aud: "sts.amazonaws.com",
      iat: nowSec(),
      exp: nowSec() + 60,
    };
    await expect(assume(`${encode({ alg: "none" })}.${encode(claims)}.`)).rejects.toMatchObject({
      name: "InvalidIdentityTokenException",
    });
  });
});

it("a role whose trust does not name the provider denies it", async () => {
  const other = await startStsEmulator({
    clock: systemClock,
    random: systemRandom,
    roles: [{ arn: ROLE, allowedPrincipals: ["arn:aws:iam::000000000000:user/base"] }],
    identityProviders: [{ issuer: ISSUER, audiences: ["sts.amazonaws.com"], jwks }],
  });
  client.destroy();
  client = new STSClient({ endpoint: other.url, region: "eu-west-1", maxAttempts: 1 });
  await expect(assume(await tokenOf())).rejects.toMatchObject({ name: "AccessDenied" });
  await other.stop();
});
