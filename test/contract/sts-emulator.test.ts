/** The STS emulator under the real SDK client: what it grants, what it refuses, and its faults. */
import {
  AssumeRoleCommand,
  type AssumeRoleCommandInput,
  type Credentials,
  GetCallerIdentityCommand,
  GetSessionTokenCommand,
  STSClient,
} from "@aws-sdk/client-sts";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { StsCall } from "../../src/emulators/aws-sts/knobs.ts";
import { type StsEmulator, startStsEmulator } from "../../src/emulators/aws-sts/server.ts";
import {
  canonicalRequest,
  sha256Hex,
  signatureOf,
  signingKey,
  stringToSign,
} from "../../src/emulators/aws-sts/sigv4.ts";
import { EvergrantError } from "../../src/protocol/errors.ts";
import { type Clock, monoMs } from "../../src/protocol/time.ts";
import { systemClock, systemRandom } from "../../src/runtime/system-clock.ts";

const ROLE = "arn:aws:iam::123456789012:role/lake/reader";
const GUARDED = "arn:aws:iam::123456789012:role/guarded";
const ROLES = [
  { arn: ROLE, maxSessionSec: 43_200 },
  {
    arn: GUARDED,
    externalId: "tenant-7",
    allowedPrincipals: ["arn:aws:iam::000000000000:user/base"],
  },
];
const WHOLE = JSON.stringify({
  Version: "2012-10-17",
  Statement: [{ Effect: "Allow", Action: "s3:GetObject", Resource: "*" }],
});

let sts: StsEmulator;
const clients: STSClient[] = [];

interface KeyPair {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
}

const baseKey = (): KeyPair => ({
  accessKeyId: sts.baseCredentials.accessKeyId,
  secretAccessKey: sts.baseCredentials.secretAccessKey.reveal(),
});

function keyOf(issued: Credentials | undefined): KeyPair {
  return {
    accessKeyId: issued?.AccessKeyId ?? "",
    secretAccessKey: issued?.SecretAccessKey ?? "",
    sessionToken: issued?.SessionToken ?? "",
  };
}

/** A client with retries off, so that every call is one request. */
function clientWith(credentials: KeyPair = baseKey()): STSClient {
  const client = new STSClient({
    endpoint: sts.url,
    region: "eu-west-1",
    credentials,
    maxAttempts: 1,
  });
  clients.push(client);
  return client;
}

const assume = (more: Partial<AssumeRoleCommandInput> = {}, credentials?: KeyPair) =>
  clientWith(credentials).send(
    new AssumeRoleCommand({ RoleArn: ROLE, RoleSessionName: "job-1", ...more }),
  );

const whoAmI = (credentials: KeyPair) =>
  clientWith(credentials).send(new GetCallerIdentityCommand({}));

const refusal = (name: string, httpStatusCode: number) =>
  expect.objectContaining({ name, $metadata: expect.objectContaining({ httpStatusCode }) });

beforeEach(async () => {
  sts = await startStsEmulator({ clock: systemClock, random: systemRandom, roles: ROLES });
});
afterEach(async () => {
  for (const client of clients.splice(0)) client.destroy();
  await sts.stop();
});

describe("granting", () => {
  it("AssumeRole answers with a credential that GetCallerIdentity accepts", async () => {
    const { Credentials: issued, AssumedRoleUser: user, PackedPolicySize: packed } = await assume();
    expect(user?.Arn).toBe("arn:aws:sts::123456789012:assumed-role/reader/job-1");
    expect(packed).toBeUndefined();
    const life = (issued?.Expiration?.getTime() ?? 0) - sts.now();
    expect(life).toBeGreaterThan(3_590_000);
    expect(life).toBeLessThanOrEqual(3_600_000);
    const identity = await whoAmI(keyOf(issued));
    expect(identity).toMatchObject({
      Arn: user?.Arn,
      Account: "123456789012",
      UserId: user?.AssumedRoleId,
    });
  });

  it("GetCallerIdentity names the base user", async () => {
    const identity = await whoAmI(baseKey());
    expect(identity).toMatchObject({
      Arn: "arn:aws:iam::000000000000:user/base",
      Account: "000000000000",
    });
  });

  it("GetSessionToken lasts 12 h by default and cannot be called with what it issued", async () => {
    const { Credentials: issued } = await clientWith().send(new GetSessionTokenCommand({}));
    expect((issued?.Expiration?.getTime() ?? 0) - sts.now()).toBeGreaterThan(43_190_000);
    await expect(clientWith(keyOf(issued)).send(new GetSessionTokenCommand({}))).rejects.toEqual(
      refusal("AccessDenied", 403),
    );
  });

  it("lists what it issued without any secret", async () => {
    const { Credentials: issued } = await assume({
      Policy: WHOLE,
      PolicyArns: [{ arn: "arn:aws:iam::aws:policy/ReadOnlyAccess" }],
      Tags: [{ Key: "job", Value: "etl + @more" }],
      SourceIdentity: "alice",
      DurationSeconds: 900,
    });
    expect(sts.counters.issued).toEqual([
      expect.objectContaining({
        accessKeyId: issued?.AccessKeyId,
        action: "AssumeRole",
        sessionName: "job-1",
        policy: WHOLE,
        policyArns: ["arn:aws:iam::aws:policy/ReadOnlyAccess"],
        tags: { job: "etl + @more" },
        sourceIdentity: "alice",
        requestedDurationSec: 900,
        expiresAt: issued?.Expiration?.getTime(),
      }),
    ]);
    const listed = JSON.stringify([sts.counters, sts.findKey(issued?.AccessKeyId ?? "")]);
    expect(listed).not.toContain(issued?.SecretAccessKey);
    expect(listed).not.toContain(issued?.SessionToken);
  });

  it("without a list of roles, takes any role ARN for 12 h", async () => {
    const open = await startStsEmulator({ clock: systemClock, random: systemRandom });
    const own = sts;
    sts = open;
    await assume({ RoleArn: "arn:aws:iam::999999999999:role/any", DurationSeconds: 43_200 });
    expect(open.count("AssumeRole", "ok")).toBe(1);
    await open.stop();
    sts = own;
  });
});

describe("parameters and limits", () => {
  const many = (count: number) =>
    Array.from({ length: count }, (_, index) => ({ Key: `k${index}`, Value: "v" }));
  const arns = (count: number) =>
    Array.from({ length: count }, (_, index) => ({ arn: `arn:aws:iam::aws:policy/P${index}` }));

  it.each<[string, Partial<AssumeRoleCommandInput>, string]>([
    ["a duration of 899 s", { DurationSeconds: 899 }, "ValidationError"],
    ["a duration of 43201 s", { DurationSeconds: 43_201 }, "ValidationError"],
    ["a session name of one character", { RoleSessionName: "x" }, "ValidationError"],
    ["a session name with a space", { RoleSessionName: "a b" }, "ValidationError"],
    [
      "a role ARN that is none",
      { RoleArn: "arn:aws:iam::1:user/nobody-at-all" },
      "ValidationError",
    ],
    [
      "a policy of 2049 characters",
      { Policy: WHOLE + " ".repeat(2049 - WHOLE.length) },
      "ValidationError",
    ],
    ["an empty policy", { Policy: "" }, "ValidationError"],
    ["a policy outside the charset", { Policy: WHOLE.replace("*", "\u0416") }, "ValidationError"],
    ["a policy that is not JSON", { Policy: "{" }, "MalformedPolicyDocument"],
    ["a policy without statements", { Policy: "{}" }, "MalformedPolicyDocument"],
    ["11 policy ARNs", { PolicyArns: arns(11) }, "ValidationError"],
    ["51 tags", { Tags: many(51) }, "ValidationError"],
    [
      "a tag value of 257 characters",
      { Tags: [{ Key: "a", Value: "v".repeat(257) }] },
      "ValidationError",
    ],
    [
      "tags that differ by case only",
      {
        Tags: [
          { Key: "a", Value: "1" },
          { Key: "A", Value: "2" },
        ],
      },
      "InvalidParameterValue",
    ],
    ["a transitive key that is no tag", { TransitiveTagKeys: ["a"] }, "InvalidParameterValue"],
    ["a SourceIdentity of one character", { SourceIdentity: "x" }, "ValidationError"],
    [
      "tags that do not fit the packed size",
      { Policy: WHOLE, Tags: many(20).map((tag) => ({ ...tag, Value: "v".repeat(120) })) },
      "PackedPolicyTooLarge",
    ],
  ])("refuses %s", async (_what, input, code) => {
    await expect(assume(input)).rejects.toMatchObject({ name: expect.stringContaining(code) });
    expect(sts.counters.issued).toEqual([]);
    expect(sts.count("AssumeRole", code)).toBe(1);
  });

  it("accepts 10 policy ARNs, 50 tags and a policy, and tells their packed size", async () => {
    const answer = await assume({ Policy: WHOLE, PolicyArns: arns(10), Tags: many(50) });
    expect(answer.PackedPolicySize).toBeGreaterThan(0);
    expect(answer.PackedPolicySize).toBeLessThanOrEqual(100);
  });

  it("names every violation of one request at once", async () => {
    await expect(assume({ DurationSeconds: 1, RoleSessionName: "x" })).rejects.toMatchObject({
      message: expect.stringMatching(
        /^2 validation errors detected: .*roleSessionName.*durationSeconds/,
      ),
    });
  });

  it("refuses more than the role's MaxSessionDuration", async () => {
    const guarded = { RoleArn: GUARDED, ExternalId: "tenant-7" };
    await expect(assume({ ...guarded, DurationSeconds: 3_601 })).rejects.toMatchObject({
      name: "ValidationError",
      message: expect.stringContaining("MaxSessionDuration"),
    });
    await assume({ ...guarded, DurationSeconds: 3_600 });
  });
});

describe("trust", () => {
  it("demands the role's ExternalId", async () => {
    const denied = refusal("AccessDenied", 403);
    await expect(assume({ RoleArn: GUARDED })).rejects.toEqual(denied);
    await expect(assume({ RoleArn: GUARDED, ExternalId: "tenant-8" })).rejects.toEqual(denied);
    await assume({ RoleArn: GUARDED, ExternalId: "tenant-7" });
  });

  it("refuses an unknown role and a principal that the role does not trust", async () => {
    await expect(assume({ RoleArn: "arn:aws:iam::123456789012:role/absent" })).rejects.toEqual(
      refusal("AccessDenied", 403),
    );
    const first = keyOf((await assume()).Credentials);
    await expect(assume({ RoleArn: GUARDED, ExternalId: "tenant-7" }, first)).rejects.toEqual(
      refusal("AccessDenied", 403),
    );
  });

  it("caps role chaining at one hour; a session token is no chaining", async () => {
    const chained = keyOf((await assume()).Credentials);
    await expect(assume({ DurationSeconds: 3_601 }, chained)).rejects.toMatchObject({
      message: expect.stringContaining("role chaining"),
    });
    await assume({ DurationSeconds: 3_600 }, chained);
    const session = await clientWith().send(new GetSessionTokenCommand({}));
    await assume({ DurationSeconds: 43_200 }, keyOf(session.Credentials));
  });

  it("keeps SourceIdentity and transitive tags through a chain", async () => {
    const first = await assume({
      SourceIdentity: "alice",
      Tags: [
        { Key: "team", Value: "a" },
        { Key: "once", Value: "b" },
      ],
      TransitiveTagKeys: ["team"],
    });
    const second = await assume({}, keyOf(first.Credentials));
    expect(second.SourceIdentity).toBe("alice");
    expect(sts.counters.issued[1]?.tags).toEqual({ team: "a" });
    await expect(assume({ SourceIdentity: "mallory" }, keyOf(first.Credentials))).rejects.toEqual(
      refusal("AccessDenied", 403),
    );
    await expect(
      assume({ Tags: [{ Key: "Team", Value: "z" }] }, keyOf(second.Credentials)),
    ).rejects.toEqual(refusal("InvalidParameterValue", 400));
  });
});

describe("authentication", () => {
  it("refuses an unknown access key", async () => {
    const unknown = { ...baseKey(), accessKeyId: "AKIAUNKNOWNUNKNOWN00" };
    await expect(whoAmI(unknown)).rejects.toEqual(refusal("InvalidClientTokenId", 403));
  });

  it("refuses a wrong secret", async () => {
    const wrong = { ...baseKey(), secretAccessKey: "wrong" };
    await expect(whoAmI(wrong)).rejects.toEqual(refusal("SignatureDoesNotMatch", 403));
  });

  it("refuses a session key with another token, or with none", async () => {
    const issued = keyOf((await assume()).Credentials);
    const { sessionToken: _, ...bare } = issued;
    for (const key of [{ ...issued, sessionToken: "other" }, bare]) {
      await expect(whoAmI(key)).rejects.toEqual(refusal("InvalidClientTokenId", 403));
    }
  });

  it("refuses an expired temporary credential with ExpiredToken, and accepted it before", async () => {
    sts.knobs.lifetimeMs = 12_000;
    const issued = keyOf((await assume({ DurationSeconds: 900 })).Credentials);
    await whoAmI(issued);
    sts.knobs.clockSkewMs = 13_000;
    await expect(whoAmI(issued)).rejects.toEqual(refusal("ExpiredToken", 403));
    expect(sts.counters.calls["GetCallerIdentity"]).toEqual({ ok: 1, ExpiredToken: 1 });
  });

  it.each([
    [6, "SignatureDoesNotMatch"],
    [-6, "SignatureDoesNotMatch"],
    [16, "RequestExpired"],
  ])("refuses a signature when clocks are %i min apart", async (minutes, code) => {
    sts.knobs.clockSkewMs = minutes * 60_000;
    await expect(whoAmI(baseKey())).rejects.toEqual(refusal(code, 403));
  });

  it("accepts clocks that are 4 min apart, and shows its own in Date and Expiration", async () => {
    sts.knobs.clockSkewMs = 240_000;
    const { Credentials: issued } = await assume({ DurationSeconds: 900 });
    expect((issued?.Expiration?.getTime() ?? 0) - systemClock.now().wall).toBeGreaterThan(
      1_130_000,
    );
    const answer = await fetch(sts.url);
    const date = Date.parse(answer.headers.get("date") ?? "");
    expect(Math.abs(date - systemClock.now().wall - 240_000)).toBeLessThan(5_000);
  });
});

describe("signatures by hand", () => {
  const BODY = "Action=GetCallerIdentity&Version=2011-06-15";

  /** Signs one POST as a client would; `tamper` changes what is then sent. */
  async function post(
    tamper: (request: { body: string; headers: Record<string, string> }) => void,
  ) {
    const { host } = new URL(sts.url);
    const amzDate = new Date(sts.now()).toISOString().replace(/[-:]|\.\d+/g, "");
    const scope = `${amzDate.slice(0, 8)}/eu-west-1/sts/aws4_request`;
    const signed = { host, "x-amz-date": amzDate };
    const canonical = canonicalRequest(
      { method: "POST", target: "/", headers: Object.entries(signed) },
      Object.keys(signed),
      sha256Hex(BODY),
    );
    const { accessKeyId, secretAccessKey } = baseKey();
    const signature = signatureOf(
      signingKey(secretAccessKey, scope),
      stringToSign(amzDate, scope, canonical),
    );
    const authorization = `AWS4-HMAC-SHA256 Credential=${accessKeyId}/${scope}, SignedHeaders=host;x-amz-date, Signature=${signature}`;
    const request = {
      body: BODY,
      headers: {
        "x-amz-date": amzDate,
        authorization,
        "content-type": "application/x-www-form-urlencoded",
      } as Record<string, string>,
    };
    tamper(request);
    const answer = await fetch(sts.url, { method: "POST", ...request });
    return { status: answer.status, text: await answer.text() };
  }

  const edit =
    (name: string, change: (value: string) => string) =>
    ({ headers }: { headers: Record<string, string> }) => {
      headers[name] = change(headers[name] ?? "");
    };

  it("accepts an untouched request and answers in the envelope of the Query protocol", async () => {
    const { status, text } = await post(() => {});
    expect(status).toBe(200);
    expect(text).toMatch(
      /^<GetCallerIdentityResponse xmlns="https:\/\/sts\.amazonaws\.com\/doc\/2011-06-15\/"><GetCallerIdentityResult>.*<\/GetCallerIdentityResult><ResponseMetadata><RequestId>[0-9a-f-]{36}<\/RequestId><\/ResponseMetadata>/,
    );
  });

  it.each<[string, Parameters<typeof post>[0], string]>([
    [
      "another body",
      (request) => {
        request.body += "&x=1";
      },
      "SignatureDoesNotMatch",
    ],
    [
      "another signature",
      edit("authorization", (value) => value.replace(/.$/, (end) => (end === "0" ? "1" : "0"))),
      "SignatureDoesNotMatch",
    ],
    [
      "a scope of another service",
      edit("authorization", (value) => value.replace("/sts/", "/s3/")),
      "SignatureDoesNotMatch",
    ],
    [
      "a scope of another region",
      edit("authorization", (value) => value.replace("eu-west-1", "eu-west-2")),
      "SignatureDoesNotMatch",
    ],
    [
      "a host that is not signed",
      edit("authorization", (value) => value.replace("host;", "")),
      "SignatureDoesNotMatch",
    ],
    ["an x-amz header that is not signed", edit("x-amz-extra", () => "1"), "SignatureDoesNotMatch"],
    [
      "another date",
      edit("x-amz-date", (value) =>
        value.replace(/..Z$/, (end) => (end === "00Z" ? "01Z" : "00Z")),
      ),
      "SignatureDoesNotMatch",
    ],
    [
      "half a header",
      edit("authorization", (value) => value.replace(/, Signature.*/, "")),
      "IncompleteSignature",
    ],
    [
      "no header",
      ({ headers }) => {
        delete headers["authorization"];
      },
      "MissingAuthenticationToken",
    ],
  ])("refuses %s", async (_what, tamper, code) => {
    const { status, text } = await post(tamper);
    expect(text).toContain(`<Type>Sender</Type><Code>${code}</Code>`);
    expect(status).toBe(403);
    expect(sts.count("GetCallerIdentity", code)).toBe(1);
  });

  it("refuses an unknown action, another version and a body over its limit", async () => {
    const send = async (body: string) => (await fetch(sts.url, { method: "POST", body })).text();
    expect(await send("Action=Nonsense&Version=2011-06-15")).toContain("InvalidAction");
    expect(await send("Action=GetCallerIdentity&Version=2000-01-01")).toContain("InvalidAction");
    expect(await send("x".repeat(600_000))).toContain("RequestEntityTooLarge");
  });
});

describe("knobs", () => {
  it("lifetimeMs changes only what is returned: sub-900 is never requested", async () => {
    sts.knobs.lifetimeMs = 12_000;
    const { Credentials: issued } = await assume({ DurationSeconds: 900 });
    const life = (issued?.Expiration?.getTime() ?? 0) - sts.now();
    expect(life).toBeGreaterThan(9_000);
    expect(life).toBeLessThanOrEqual(12_000);
    await expect(assume({ DurationSeconds: 12 })).rejects.toEqual(refusal("ValidationError", 400));
  });

  it("throttle strikes the next N calls with HTTP 400, then no more", async () => {
    sts.knobs.throttle = 2;
    for (const _ of [1, 2]) await expect(assume()).rejects.toEqual(refusal("Throttling", 400));
    await assume();
    expect(sts.counters.calls).toEqual({ AssumeRole: { Throttling: 2, ok: 1 } });
  });

  it("a fault ends at its monotonic instant, and strikes only where its predicate holds", async () => {
    sts.knobs.throttle = { untilMono: monoMs(systemClock.now().mono - 1) };
    await assume();
    sts.knobs.throttle = { untilMono: monoMs(systemClock.now().mono + 60_000), calls: 9 };
    await expect(assume()).rejects.toEqual(refusal("Throttling", 400));
    sts.knobs.throttle = { when: ({ sessionName }) => sessionName === "job-2" };
    await assume();
    await expect(assume({ RoleSessionName: "job-2" })).rejects.toEqual(refusal("Throttling", 400));
    sts.knobs.throttle = { actions: ["GetSessionToken"] };
    await assume();
  });

  it("a fault whose predicate does not hold is not counted down", async () => {
    sts.knobs.deny = { calls: 1, when: ({ sessionName }) => sessionName === "job-2" };
    await assume();
    await expect(assume({ RoleSessionName: "job-2" })).rejects.toEqual(
      refusal("AccessDenied", 403),
    );
    await assume({ RoleSessionName: "job-2" });
  });

  it("fail5xx answers 500, or 503 as ServiceUnavailable", async () => {
    sts.knobs.fail5xx = 1;
    await expect(assume()).rejects.toEqual(refusal("InternalFailure", 500));
    sts.knobs.fail5xx = { calls: 1, status: 503 };
    await expect(assume()).rejects.toEqual(refusal("ServiceUnavailable", 503));
  });

  it("refuse answers with any code at all", async () => {
    sts.knobs.refuse = { calls: 1, status: 403, code: "RegionDisabledException" };
    await expect(assume()).rejects.toEqual(refusal("RegionDisabledException", 403));
    sts.knobs.refuse = { calls: 1, code: "IDPCommunicationError" };
    await expect(assume()).rejects.toMatchObject({
      name: expect.stringContaining("IDPCommunicationError"),
    });
  });

  it("garbage is an HTML page with 200", async () => {
    sts.knobs.garbage = 1;
    const answer = await fetch(sts.url);
    expect(answer.status).toBe(200);
    expect(answer.headers.get("content-type")).toBe("text/html");
    expect(sts.count("unknown", "garbage")).toBe(1);
  });

  it("a hung call never answers, counts, and ends with stop()", async () => {
    sts.knobs.hang = 1;
    const call = assume();
    const ended = expect(call).rejects.toBeInstanceOf(Error);
    await sts.callsEnded(1);
    expect(sts.count("AssumeRole", "hang")).toBe(1);
    await sts.stop();
    await ended;
  });

  it("dropAnswer issues, then loses the answer", async () => {
    sts.knobs.dropAnswer = 1;
    await expect(assume()).rejects.toBeInstanceOf(Error);
    expect(sts.counters.issued).toHaveLength(1);
    expect(sts.count("AssumeRole", "dropped")).toBe(1);
  });

  it("expiryInPast and noExpiration do to Expiration what they say", async () => {
    sts.knobs.expiryInPast = true;
    const past = await assume();
    expect(past.Credentials?.Expiration?.getTime()).toBeLessThan(sts.now());
    await expect(whoAmI(keyOf(past.Credentials))).rejects.toEqual(refusal("ExpiredToken", 403));
    sts.knobs.expiryInPast = false;
    sts.knobs.noExpiration = true;
    const endless = await assume();
    expect(endless.Credentials?.Expiration).toBeUndefined();
    await whoAmI(keyOf(endless.Credentials));
  });

  it("onCall sees each call without secrets, and the answer waits for it", async () => {
    const seen: StsCall[] = [];
    let release = (): void => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    const arrived = new Promise<void>((resolve) => {
      sts.onCall = (call) => {
        seen.push(call);
        resolve();
        return held;
      };
    });
    const call = assume();
    await arrived;
    expect(sts.count()).toBe(0);
    release();
    await call;
    expect(seen).toEqual([
      expect.objectContaining({
        action: "AssumeRole",
        sequence: 1,
        roleArn: ROLE,
        sessionName: "job-1",
      }),
    ]);
    expect(sts.count()).toBe(1);
  });

  it("latencyMs waits on the given clock, and stop() ends the wait", async () => {
    const armed: { delay: number; fire: () => void }[] = [];
    let rearmed = (): void => {};
    const clock: Clock = {
      now: () => systemClock.now(),
      timer(delay, fire) {
        armed.push({ delay, fire });
        rearmed();
        return () => {};
      },
    };
    const slow = await startStsEmulator({
      clock,
      random: systemRandom,
      knobs: { latencyMs: 7_000 },
    });
    for (const end of [() => armed[0]?.fire(), () => slow.stop()]) {
      const waiting = new Promise<void>((resolve) => {
        rearmed = resolve;
      });
      const answer = fetch(slow.url).then(
        ({ status }) => status,
        () => "ended",
      );
      await waiting;
      expect(slow.count()).toBe(armed.length - 1);
      await end();
      expect(await answer).toBe(armed.length === 1 ? 400 : "ended");
    }
    expect(armed.map(({ delay }) => delay)).toEqual([7_000, 7_000]);
  });
});

describe("the admin path", () => {
  const admin = async (path: string, init?: RequestInit) => {
    const answer = await fetch(`${sts.url}/_emulator/${path}`, init);
    return { status: answer.status, json: (await answer.json()) as Record<string, unknown> };
  };
  const setKnobs = (knobs: unknown) =>
    admin("knobs", { method: "POST", body: JSON.stringify(knobs) });

  it("sets knobs and shows counters, and is not counted itself", async () => {
    const set = await setKnobs({ lifetimeMs: 12_000, throttle: { calls: 1, forMs: 60_000 } });
    expect(set.status).toBe(200);
    expect(sts.knobs.lifetimeMs).toBe(12_000);
    await expect(assume()).rejects.toEqual(refusal("Throttling", 400));
    await assume();
    const { json } = await admin("counters");
    expect(json).toMatchObject({ total: 2, calls: { AssumeRole: { Throttling: 1, ok: 1 } } });
  });

  it("names every fault of a body and changes nothing then", async () => {
    const { status, json } = await setKnobs({ lifetimeMs: -1, latencyMs: 5, nonsense: true });
    expect(status).toBe(400);
    expect(json["errors"]).toHaveLength(2);
    expect(sts.knobs.latencyMs).toBe(0);
  });
});

it("a port that is taken is an EvergrantError with SERVER_START_FAILED", async () => {
  const port = Number(new URL(sts.url).port);
  const started = startStsEmulator({ clock: systemClock, random: systemRandom, port });
  await expect(started).rejects.toBeInstanceOf(EvergrantError);
  await expect(started).rejects.toMatchObject({ code: "SERVER_START_FAILED" });
});
