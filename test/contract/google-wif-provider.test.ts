/** Provider `google-wif` against the Google emulator, over HTTP, for each source of its subject token. */

import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { decodeJwt, decodeProtectedHeader } from "jose";
import { afterEach, beforeEach, describe, expect, onTestFinished, test } from "vitest";
import type { Obtained } from "../../src/coordinator/ports/credential-provider.ts";
import { googleWifProvider } from "../../src/coordinator/providers/google-wif/index.ts";
import { subjectToken } from "../../src/coordinator/providers/google-wif/subject-token.ts";
import type { GoogleCall } from "../../src/emulators/google/knobs.ts";
import type { GoogleEmulatorOptions } from "../../src/emulators/google/server.ts";
import { GOOGLE_TOKEN } from "../../src/protocol/credential.ts";
import { classOf } from "../../src/protocol/errors.ts";
import { systemClock } from "../../src/runtime/system-clock.ts";
import {
  ACCOUNT,
  type GooglePool,
  ISSUER,
  POOL,
  PRINCIPAL,
  SUBJECT,
  startGooglePool,
} from "../support/google-pool.ts";
import {
  countingContext,
  credentialProviderContract,
  everythingShown,
  expectNoSecret,
  failureOf,
  type ProviderRig,
  recordingServices,
} from "./support/credential-provider-contract.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

interface Bench extends GooglePool {
  readonly dir: string;
  readonly logged: unknown[];
}

async function openBench(more: Partial<GoogleEmulatorOptions> = {}): Promise<Bench> {
  const dir = await mkdtemp(join(tmpdir(), "evergrant google-wif-"));
  return { ...(await startGooglePool(dir, more)), dir, logged: [] };
}

async function closeBench({ google, dir }: Bench): Promise<void> {
  await google.stop();
  await rm(dir, { recursive: true, force: true });
}

function providerOf(bench: Bench, more: Readonly<Record<string, unknown>> = {}) {
  const options = googleWifProvider.options.parse(bench.options(more));
  return googleWifProvider.create(options, recordingServices(bench.dir, bench.logged));
}

/** The bench's identity as an assertion in a file, as a platform would put it there. */
async function writeAssertion(bench: Bench, lifetimeSec = 3_600): Promise<string> {
  const jwt = { keyFile: bench.keyFile, issuer: ISSUER, subject: SUBJECT };
  const token = await subjectToken(
    { jwt: { ...jwt, lifetimeSec, backdateSec: 20 } },
    {
      ...{ signal: new AbortController().signal, freshIdentity: false, clock: systemClock },
      ...{
        now: systemClock.now().wall,
        assertionId: "platform",
        audience: POOL,
        baseDir: bench.dir,
      },
    },
  );
  const path = join(bench.dir, "assertion");
  await writeFile(path, `${token.reveal()}\n`, { mode: 0o600 });
  return path;
}

async function rigOf(bench: Bench, more: Readonly<Record<string, unknown>>): Promise<ProviderRig> {
  const { google } = bench;
  const waiting: (() => void)[] = [];
  let hangingCalls = 0;
  return {
    provider: providerOf(bench, more),
    kind: GOOGLE_TOKEN,
    breakIssuer(fault) {
      const { knobs } = google;
      if (fault === "throttled") knobs.throttle = true;
      if (fault === "broken") knobs.fail5xx = true;
      if (fault === "denied") knobs.deny = true;
      if (fault === "identity-rejected") knobs.refuse = true;
      if (fault === "garbage") knobs.garbage = true;
      if (fault === "no-expiry") knobs.noExpiration = true;
      if (fault === "past-expiry") {
        knobs.expiryInPast = "serviceAccount" in more ? "federated" : true;
      }
      if (fault === "hangs") {
        knobs.hang = true;
        google.onCall = () => {
          hangingCalls += 1;
          for (const resolve of waiting.splice(0)) resolve();
        };
      }
    },
    mendIssuer: () =>
      void Object.assign(google.knobs, {
        ...{ throttle: false, fail5xx: false, deny: false, refuse: false, garbage: false },
      }),
    requestsSeen: () => google.counters.total,
    hanging: () =>
      hangingCalls > 0 ? Promise.resolve() : new Promise((resolve) => waiting.push(resolve)),
    baseSecrets: bench.secrets,
    async replaceIdentity() {
      await bench.replaceKey(true);
      if ("subjectToken" in more) await writeAssertion(bench);
    },
    logged: bench.logged,
    close: () => closeBench(bench),
  };
}

credentialProviderContract("google-wif with a JWT signed here, impersonating", async () =>
  rigOf(await openBench(), {}),
);
credentialProviderContract("google-wif with an assertion in a file, federated alone", async () => {
  const bench = await openBench();
  const file = await writeAssertion(bench);
  return rigOf(bench, { subjectToken: { file }, serviceAccount: undefined });
});

const tokenOf = (obtained: Obtained): string => String(obtained.material.reveal()["accessToken"]);

describe("google-wif", () => {
  let bench: Bench;
  beforeEach(async () => {
    bench = await openBench();
  });
  afterEach(() => closeBench(bench));

  const obtain = (more: Readonly<Record<string, unknown>> = {}) =>
    providerOf(bench, more).obtain(countingContext());
  const fails = (more: Readonly<Record<string, unknown>> = {}) =>
    failureOf(providerOf(bench, more).obtain(countingContext()));
  const get = (token: string, path: string, init: RequestInit = {}) =>
    fetch(`${bench.google.url}${path}`, { ...init, headers: { authorization: `Bearer ${token}` } });

  test("one attempt is one exchange and one impersonation, and tells the account's facts", async () => {
    const obtained = await obtain();
    const { google } = bench;
    expect(google.count()).toBe(2);
    expect([google.count("exchange", "ok"), google.count("generateAccessToken", "ok")]).toEqual([
      1, 1,
    ]);
    expect(obtained.attributes).toEqual({
      email: ACCOUNT,
      projectId: "acme-data",
      universeDomain: "googleapis.com",
      scopes: "https://www.googleapis.com/auth/cloud-platform",
    });
    const life = (obtained.expiresAt ?? 0) - (obtained.issuerTime ?? 0);
    expect(Math.abs(life - 3_600_000)).toBeLessThan(2_000);
    expect((await get(tokenOf(obtained), "/storage/v1/b/lake/o")).status).toBe(200);
  });

  test.each(["rsa", "ec"] as const)("an %s key signs what the pool accepts", async (kind) => {
    await bench.replaceKey(true, kind);
    await obtain();
  });

  test("an Ed25519 key signs, and a pool that does not take it rejects the identity", async () => {
    await bench.replaceKey(true, "ed25519");
    expect((await fails()).code).toBe("ISSUER_IDENTITY_REJECTED");
  });

  test("each attempt signs an assertion of its own, dated back, with the key's id", async () => {
    const seen: string[] = [];
    bench.google.onCall = (call: GoogleCall) => void seen.push(call.keyId ?? "");
    const provider = providerOf(bench);
    await provider.obtain(countingContext());
    await provider.obtain(countingContext());
    const ids = bench.google.counters.issued.map(({ assertionId }) => assertionId);
    const assertions = ids.filter((id) => id !== undefined);
    expect(new Set(assertions).size).toBe(2);
    const { kid } = bench.provider.jwks.keys[0] ?? {};
    expect(seen.filter((id) => id !== "")).toEqual([kid, kid]);
    const token = await readFile(await writeAssertion(bench), "utf8");
    const { iat = 0, exp = 0, aud, iss, sub, jti } = decodeJwt(token.trim());
    expect(exp - iat).toBe(3_620);
    expect({ aud, iss, sub, jti }).toEqual({
      ...{ aud: `https:${POOL}`, iss: ISSUER, sub: SUBJECT, jti: "platform" },
    });
    expect(decodeProtectedHeader(token.trim())).toEqual({ alg: "ES256", kid, typ: "JWT" });
  });

  test("a JWK with its own kid is used as it says", async () => {
    const { readSigningKey } = await import(
      "../../src/coordinator/providers/google-wif/signing-key.ts"
    );
    const { key } = await readSigningKey({ keyFile: bench.keyFile });
    const keyFile = join(bench.dir, "key.jwk");
    await writeFile(keyFile, JSON.stringify({ ...key.export({ format: "jwk" }), kid: "k-7" }));
    bench.provider.jwks = { keys: [(await readSigningKey({ keyFile })).publicJwk] };
    const seen: (string | undefined)[] = [];
    bench.google.onCall = (call) => void seen.push(call.keyId);
    await obtain({ subjectToken: { jwt: { keyFile, issuer: ISSUER, subject: SUBJECT } } });
    expect(seen[0]).toBe("k-7");
  });

  test("relative paths are relative to the configuration's folder", async () => {
    const jwt = { keyFile: "signing-key.pem", issuer: ISSUER, subject: SUBJECT };
    await obtain({ subjectToken: { jwt } });
    await writeAssertion(bench);
    await obtain({ subjectToken: { file: "assertion" } });
    await obtain({ subjectToken: { command: ["cat", "assertion"] } });
  });

  test("a token from a URL, in a JSON field, and from a command are exchanged", async () => {
    const token = (await readFile(await writeAssertion(bench), "utf8")).trim();
    const server = createServer((request, response) => {
      const right = request.headers["x-secret"] === "s";
      response.writeHead(right ? 200 : 403).end(JSON.stringify({ value: token }));
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    onTestFinished(() => void server.close());
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/token`;
    const format = { jsonField: "value" };
    await obtain({ subjectToken: { url, headers: { "x-secret": "s" }, format } });
    await obtain({ subjectToken: { command: ["cat", join(bench.dir, "assertion")] } });
    expect(bench.google.count("exchange", "ok")).toBe(2);
    const refused = await fails({ subjectToken: { url, format } });
    expect(refused.code).toBe("PROVIDER_INPUT_MISSING");
    expect((await fails({ subjectToken: { command: ["false"] } })).code).toBe(
      "PROVIDER_INPUT_MISSING",
    );
    const gone = await fails({ subjectToken: { url: "http://127.0.0.1:9/token" } });
    expect(classOf(gone.code)).toBe("transient");
  });

  test("a key that doesn't match the pool is a rejected identity; a missing or torn one is missing", async () => {
    await bench.replaceKey(false);
    const wrong = await fails();
    expect(wrong.code).toBe("ISSUER_IDENTITY_REJECTED");
    expect(wrong.details).toMatchObject({ issuerCode: "invalid_grant", httpStatus: 400 });
    await writeFile(bench.keyFile, (await readFile(bench.keyFile, "utf8")).slice(0, 60));
    expect((await fails()).code).toBe("PROVIDER_INPUT_MISSING");
    await rm(bench.keyFile);
    expect((await fails()).code).toBe("PROVIDER_INPUT_MISSING");
    expect(bench.google.count()).toBe(1);
  });

  test("a key file that is replaced between two attempts is used at the next", async () => {
    const provider = providerOf(bench);
    await provider.obtain(countingContext());
    await bench.replaceKey(true);
    await provider.obtain(countingContext());
    expect(bench.google.count("exchange", "ok")).toBe(2);
  });

  test("a wrong audience of the assertion is a rejected identity, a pool that is not there an invalid request", async () => {
    const jwt = { keyFile: bench.keyFile, issuer: ISSUER, subject: SUBJECT };
    const wrong = await fails({ subjectToken: { jwt: { ...jwt, audience: "https://else" } } });
    expect(wrong.code).toBe("ISSUER_IDENTITY_REJECTED");
    const absent = await fails({ audience: POOL.replace("on-premises", "elsewhere") });
    expect(absent.code).toBe("ISSUER_REQUEST_INVALID");
  });

  test("clocks that are 10 minutes apart are named, and the next attempt is dated by the issuer's", async () => {
    for (const apart of [-600_000, 600_000]) {
      bench.google.knobs.clockSkewMs = apart;
      const options = apart < 0 ? {} : { subjectToken: shortJwt(bench) };
      const provider = providerOf(bench, options);
      const error = await failureOf(provider.obtain(countingContext()));
      expect(error.code).toBe("ISSUER_IDENTITY_REJECTED");
      expect(error.message).toMatch(apart < 0 ? /\d+ s ahead of/ : /\d+ s behind/);
      expect(Math.abs(Number(error.details["clockSkewSec"]) - apart / 1000)).toBeLessThan(3);
      const obtained = await provider.obtain(countingContext({ freshIdentity: true }));
      expect(Math.abs((obtained.issuerTime ?? 0) - systemClock.now().wall - apart)).toBeLessThan(
        3_000,
      );
    }
  });

  test("a subject that may not impersonate is denied, with two requests and no more", async () => {
    await closeBench(bench);
    bench = await openBench({ serviceAccounts: [{ email: ACCOUNT, tokenCreators: [] }] });
    const context = countingContext();
    const error = await failureOf(providerOf(bench).obtain(context));
    expect(error.code).toBe("ISSUER_DENIED");
    expect(error.details).toMatchObject({ step: "impersonate", issuerCode: "PERMISSION_DENIED" });
    expect([context.counted, bench.google.count()]).toEqual([2, 2]);
  });

  test("delegates are a chain in which each must be a token creator of the next", async () => {
    const [first, last] = ["broker@acme-data.iam.gserviceaccount.com", ACCOUNT];
    await closeBench(bench);
    bench = await openBench({
      serviceAccounts: [
        { email: first, tokenCreators: [PRINCIPAL] },
        { email: last, tokenCreators: [first] },
      ],
    });
    expect((await fails()).code).toBe("ISSUER_DENIED");
    await obtain({ serviceAccount: { email: last, delegates: [first] } });
  });

  test("a lifetime above an hour is warned about, refused without the policy and given with it", async () => {
    const serviceAccount = { email: ACCOUNT, lifetimeSec: 7_200 };
    expect((await fails({ serviceAccount })).code).toBe("ISSUER_REQUEST_INVALID");
    expect(everythingShown(bench.logged)).toContain(
      "allowServiceAccountCredentialLifetimeExtension",
    );
    await closeBench(bench);
    bench = await openBench({ serviceAccounts: [{ email: ACCOUNT, maxLifetimeSec: 43_200 }] });
    const { expiresAt = 0, issuerTime = 0 } = await obtain({ serviceAccount });
    expect(Math.abs(expiresAt - issuerTime - 7_200_000)).toBeLessThan(2_000);
  });

  test("a federated token ends with its assertion, and a short one is warned about", async () => {
    const more = { serviceAccount: undefined, subjectToken: shortJwt(bench) };
    const { expiresAt = 0, issuerTime = 0, attributes } = await obtain(more);
    expect(expiresAt - issuerTime).toBeLessThanOrEqual(300_000);
    expect(attributes["email"]).toBeUndefined();
    expect(bench.google.count()).toBe(1);
    expect(everythingShown(bench.logged)).toContain("ends with its assertion");
  });

  test("a short-lived federated token is exchanged once all the same", async () => {
    await obtain({ subjectToken: shortJwt(bench) });
    expect(bench.google.count("exchange")).toBe(1);
  });

  test.each([
    ["throttle", "ISSUER_THROTTLED"],
    ["fail5xx", "ISSUER_UNAVAILABLE"],
    ["garbage", "ISSUER_ANSWER_UNUSABLE"],
    ["dropAnswer", "ISSUER_UNAVAILABLE"],
  ] as const)("%s at the impersonation is %s, and nothing is retried", async (knob, code) => {
    bench.google.knobs[knob] = { operations: ["generateAccessToken"] };
    const context = countingContext();
    const error = await failureOf(providerOf(bench).obtain(context));
    expect(error.code).toBe(code);
    expect([context.counted, bench.google.count()]).toEqual([2, 2]);
    expectNoSecret(error, bench.secrets);
  });

  test("a redirect is not followed: the assertion goes nowhere else", async () => {
    const server = createServer((_request, response) => {
      response.writeHead(307, { location: `${bench.google.url}/v1/token` }).end();
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    onTestFinished(() => void server.close());
    const sts = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const error = await fails({ endpoints: { sts, iamCredentials: bench.google.url } });
    expect(error.code).toBe("ISSUER_ANSWER_UNUSABLE");
    expect(bench.google.count()).toBe(0);
  });

  test("the library's debug log shows nothing of an attempt (I9)", async () => {
    // The library reads the variable once, when it is loaded.
    const script = `
      import { obtainToken } from "./src/coordinator/providers/google-wif/client.ts";
      import { googleWifOptionsSchema } from "./src/coordinator/providers/google-wif/options.ts";
      import { Secret } from "./src/protocol/secret.ts";
      import { systemClock } from "./src/runtime/system-clock.ts";
      const { options, subject } = JSON.parse(process.argv[1]);
      const call = { signal: new AbortController().signal, clock: systemClock, countRequest() {} };
      const parsed = googleWifOptionsSchema.parse(options);
      await obtainToken(parsed, new Secret(subject), call, () => {});`;
    const subject = (await readFile(await writeAssertion(bench), "utf8")).trim();
    const given = JSON.stringify({ options: bench.options(), subject });
    const { stdout, stderr } = await promisify(execFile)(
      process.execPath,
      ["--input-type=module", "-e", script, given],
      { env: { ...process.env, GOOGLE_SDK_NODE_LOGGING: "*" }, cwd: ROOT },
    );
    expect(bench.google.count("generateAccessToken", "ok")).toBe(1);
    expect(stdout + stderr).not.toContain("ya29.");
    expect(stdout + stderr).not.toContain(subject);
  });

  describe("narrowed by declared scopes", () => {
    const odd = `o'brien "x" \\ *?/ü`;
    const scopes = [
      { bucket: "lake-raw", prefix: "in/2026", access: "read" },
      { bucket: "lake-raw", prefix: odd, access: "readwrite" },
      { bucket: "lake-out", prefix: "", access: "write", list: false },
    ];
    const object = (bucket: string, name: string) =>
      `/download/storage/v1/b/${bucket}/o/${encodeURIComponent(name)}`;
    const put = (token: string, bucket: string, name: string) =>
      get(
        token,
        `/upload/storage/v1/b/${bucket}/o?uploadType=media&name=${encodeURIComponent(name)}`,
        { method: "POST", body: "x" },
      );
    const list = (token: string, bucket: string, prefix: string) =>
      get(token, `/storage/v1/b/${bucket}/o?prefix=${encodeURIComponent(prefix)}`);

    test("three requests, the account's own expiry, and only what the scopes say", async () => {
      const context = countingContext();
      const obtained = await providerOf(bench, { scopes }).obtain(context);
      expect(context.counted).toBe(3);
      expect(bench.google.count("downscope", "ok")).toBe(1);
      expect((obtained.expiresAt ?? 0) - (obtained.issuerTime ?? 0)).toBeGreaterThan(3_590_000);
      const token = tokenOf(obtained);
      const status = async (answer: Promise<Response>) => (await answer).status;
      const all = tokenOf(await obtain());
      for (const name of ["in/2026/a", "in/2026_b/a", `${odd}/a`]) await put(all, "lake-raw", name);
      expect(await status(get(token, object("lake-raw", "in/2026/a")))).toBe(200);
      expect(await status(get(token, object("lake-raw", "in/2026_b/a")))).toBe(403);
      expect(await status(get(token, object("lake-raw", `${odd}/a`)))).toBe(200);
      expect(await status(put(token, "lake-raw", "in/2026/b"))).toBe(403);
      expect(await status(put(token, "lake-raw", `${odd}/b`))).toBe(200);
      expect(await status(list(token, "lake-raw", "in/2026/"))).toBe(200);
      expect(await status(list(token, "lake-raw", "in/"))).toBe(403);
      expect(await status(list(token, "lake-raw", `${odd}/`))).toBe(200);
      expect(await status(put(token, "lake-out", "anything"))).toBe(200);
      expect(await status(get(token, object("lake-out", "anything")))).toBe(403);
      expect(await status(list(token, "lake-out", ""))).toBe(403);
      expect(await status(list(token, "lake-else", ""))).toBe(403);
    });

    test("a narrowed federated token takes its end from its source", async () => {
      const { expiresAt, issuerTime } = await obtain({ scopes, serviceAccount: undefined });
      expect((expiresAt ?? 0) - (issuerTime ?? 0)).toBeGreaterThan(3_500_000);
    });
  });
});

const shortJwt = ({ keyFile }: GooglePool) => ({
  jwt: { keyFile, issuer: ISSUER, subject: SUBJECT, lifetimeSec: 300 },
});
