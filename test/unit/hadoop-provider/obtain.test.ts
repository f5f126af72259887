import { beforeEach, describe, expect, it } from "vitest";
import type { Obtained } from "../../../src/coordinator/ports/credential-provider.ts";
import {
  type HadoopTools,
  hadoopProviderWith,
} from "../../../src/coordinator/providers/hadoop/index.ts";
import {
  hadoopOptionsSchema,
  resolveServices,
} from "../../../src/coordinator/providers/hadoop/options.ts";
import {
  type Credential,
  HADOOP_TOKENS,
  type HadoopTokens,
} from "../../../src/protocol/credential.ts";
import { EvergrantError } from "../../../src/protocol/errors.ts";
import { identifierOf } from "../../../src/protocol/hadoop/identifier.ts";
import { tokenFromUrlString } from "../../../src/protocol/hadoop/token.ts";
import type { Secret } from "../../../src/protocol/secret.ts";
import { durationMs, epochMs, monoMs } from "../../../src/protocol/time.ts";
import { systemRandom } from "../../../src/runtime/system-clock.ts";
import { eventually } from "../../support/eventually.ts";
import { FakeService, type FakeServiceOptions, httpOf } from "../../support/fake-hadoop.ts";
import { ManualClock } from "../../support/manual-clock.ts";

const START = epochMs(1_700_000_000_000);
const NEVER = new AbortController().signal;
let clock: ManualClock;
let requests: number;
let logins: string[];
let loginFails: (principal: string) => boolean;

beforeEach(() => {
  clock = new ManualClock({ wall: START, mono: monoMs(5) });
  requests = 0;
  logins = [];
  loginFails = () => false;
});

const fake = (options: FakeServiceOptions): FakeService => new FakeService(clock, options);

function provider(fakes: readonly FakeService[], options: Record<string, unknown>) {
  const tools: HadoopTools = {
    http: httpOf(fakes),
    resolve: async () => "10.0.0.9",
    openLogin: ({ principal }) => ({
      ensure: async (fresh) => {
        logins.push(`${principal}${fresh ? " fresh" : ""}`);
        if (loginFails(principal)) throw new EvergrantError("ISSUER_UNAVAILABLE", "no KDC");
        return { cachePath: "/nowhere", krb5Config: undefined };
      },
      close: async () => undefined,
    }),
    openNegotiator: () => ({ token: async () => "AAAA", close: () => undefined }),
  };
  const factory = hadoopProviderWith(() => tools);
  const defaults = { principal: "etl@A.TEST", keytab: "/etc/etl.keytab" };
  return factory.create(factory.options.parse({ ...defaults, ...options }), {
    name: "lake",
    tenant: "default",
    job: "etl",
    clock,
    random: systemRandom,
    baseDir: "/etc/evergrant",
    workDir: "/nowhere",
    log: () => undefined,
  });
}
type Provider = ReturnType<typeof provider>;

const obtain = async (
  it: Provider,
  current?: Credential,
  how: { replace?: boolean; freshIdentity?: boolean } = {},
): Promise<Obtained & { readonly obtainedAt: number }> => {
  const obtained = await it.obtain({
    current,
    freshIdentity: how.freshIdentity ?? false,
    replace: how.replace ?? false,
    signal: NEVER,
    countRequest: () => {
      requests += 1;
    },
  });
  return { ...obtained, obtainedAt: clock.now().wall };
};

/** What the core makes of it. */
function credentialOf(obtained: Obtained & { readonly obtainedAt: number }): Credential {
  const { issuedAt = START, issuerTime = START, expiresAt = START, obtainedAt } = obtained;
  return {
    provider: "lake",
    kind: HADOOP_TOKENS,
    generation: 1,
    issuedAt,
    expiresAt,
    issuerSkew: durationMs(issuerTime - obtainedAt),
    attributes: obtained.attributes,
    material: obtained.material,
  };
}

const tokensOf = (from: { material: Secret<unknown> }) =>
  (from.material.reveal() as HadoopTokens).tokens.map(({ alias, urlString, source }) => {
    const token = tokenFromUrlString(urlString);
    return { alias, source, kind: token.kind, service: token.service, id: identifierOf(token) };
  });
const bytesOf = (from: { material: Secret<unknown> }): readonly string[] =>
  (from.material.reveal() as HadoopTokens).tokens.map(({ urlString }) => urlString);

const NN = { name: "nn", kind: "webhdfs", url: "http://nn1:9870" };
const nameNode = (more: Partial<FakeServiceOptions> = {}): FakeService =>
  fake({ kind: "webhdfs", hosts: ["nn1:9870"], ...more });

describe("the life of one token", () => {
  it("begins with a GET and a RENEW, which tells its exact end", async () => {
    const nn = nameNode();
    const got = await obtain(provider([nn], { services: [NN] }));
    expect(got.expiresAt).toBe(START + 20_000);
    expect(got.issuedAt).toBe(START);
    expect(nn.asked).toEqual({ get: 1, renew: 1, cancel: 0 });
    expect(requests).toBe(2);
  });

  it("goes on under the same bytes until 75 % of its maximum lifetime, then in a new token", async () => {
    const nn = nameNode();
    const it = provider([nn], { services: [NN] });
    let credential = credentialOf(await obtain(it));
    const first = bytesOf(credential);
    for (const at of [15_000, 30_000]) {
      clock.advance(15_000);
      const renewed = await obtain(it, credential);
      expect(renewed.expiresAt).toBe(START + at + 20_000);
      expect(renewed.issuedAt).toBe(START + at);
      credential = credentialOf(renewed);
      expect(bytesOf(credential)).toEqual(first);
    }
    expect(nn.asked).toEqual({ get: 1, renew: 3, cancel: 0 });
    clock.advance(15_000);
    credential = credentialOf(await obtain(it, credential));
    expect(bytesOf(credential)).not.toEqual(first);
    expect(nn.asked).toEqual({ get: 2, renew: 4, cancel: 0 });
  });

  it("is re-issued where another renewal would be capped by the maximum", async () => {
    const nn = nameNode({ renewIntervalMs: 20_000, maxLifetimeMs: 21_000 });
    const it = provider([nn], { services: [NN] });
    let credential = credentialOf(await obtain(it));
    clock.advance(15_000);
    credential = credentialOf(await obtain(it, credential));
    expect(nn.asked.get).toBe(2);
    expect(credential.expiresAt).toBe(START + 35_000);
  });

  it("is replaced on demand, and in the same call when its issuer has lost it", async () => {
    const nn = nameNode();
    const it = provider([nn], { services: [NN] });
    const first = credentialOf(await obtain(it));
    clock.advance(1_000);
    const second = credentialOf(await obtain(it, first, { replace: true }));
    expect(bytesOf(second)).not.toEqual(bytesOf(first));
    nn.forget();
    clock.advance(15_000);
    const third = credentialOf(await obtain(it, second));
    expect(bytesOf(third)).not.toEqual(bytesOf(second));
    expect(nn.asked).toEqual({ get: 3, renew: 4, cancel: 0 });
  });

  it.each(["webhdfs", "httpfs", "kms", "yarn"] as const)(
    "that %s has lost is replaced by its next renewal, and its cancellation is no error",
    async (kind) => {
      const lossy = fake({ kind, hosts: ["h:1"] });
      const it = provider([lossy], {
        services: [{ name: "s", kind, url: "http://h:1", service: "x" }],
      });
      const first = credentialOf(await obtain(it));
      lossy.forget();
      await it.cancel?.(first, NEVER);
      expect(lossy.asked.cancel).toBe(1);
      clock.advance(15_000);
      const second = credentialOf(await obtain(it, first));
      expect(bytesOf(second)).not.toEqual(bytesOf(first));
      expect(lossy.asked.get).toBe(2);
    },
  );

  it("ends with one cancel for each token that is alive, labels and replaced ones included", async () => {
    const nn = nameNode();
    const it = provider([nn], { services: [{ ...NN, nameservice: "ns1" }] });
    const first = credentialOf(await obtain(it));
    const second = credentialOf(await obtain(it, first, { replace: true }));
    expect(bytesOf(second)).toHaveLength(2);
    expect(nn.living).toBe(2);
    await it.cancel?.(second, NEVER);
    expect(nn.asked.cancel).toBe(2);
    expect(nn.living).toBe(0);
    await it.cancel?.(second, NEVER); // gone already: no error
  });

  it("leaves replaced tokens alone unless a grace is configured, and then waits for it", async () => {
    for (const [options, expected] of [
      [{}, 0],
      [{ cancelReplaced: "afterGrace", cancelGraceSec: 10 }, 1],
    ] as const) {
      const nn = nameNode();
      const it = provider([nn], { services: [NN], ...options });
      let credential = credentialOf(await obtain(it));
      clock.advance(5_000);
      credential = credentialOf(await obtain(it, credential, { replace: true }));
      clock.advance(5_000);
      credential = credentialOf(await obtain(it, credential, { replace: true }));
      expect(nn.asked.cancel).toBe(0);
      clock.advance(6_000);
      await obtain(it, credential, { replace: true });
      expect(nn.asked.cancel).toBe(expected);
    }
  });

  it("is never asked for again and again when the server's dates are nonsense", async () => {
    const nn = nameNode({ skewMs: 3_600_000 });
    const it = provider([nn], { services: [NN] });
    const first = await obtain(it);
    expect(Number(first.expiresAt) - Number(first.issuedAt)).toBeGreaterThan(19_000);
    expect(Number(first.issuerTime) - START).toBeGreaterThan(3_599_000);
    const credential = credentialOf(first);
    clock.advance(1_000);
    await obtain(it, credential);
    expect(nn.asked.get).toBe(1);
  });
});

describe("labels", () => {
  it("of a single NameNode are for RPC at the address that it names, alias equal to service", async () => {
    const got = await obtain(provider([nameNode()], { services: [NN] }));
    expect(tokensOf(got)).toMatchObject([
      { alias: "127.0.0.1:8020", service: "127.0.0.1:8020", kind: "HDFS_DELEGATION_TOKEN" },
    ]);
  });

  it("of an HA pair are its logical names for RPC and for the web", async () => {
    const services = [{ ...NN, nameservice: "ns1" }];
    const got = await obtain(provider([nameNode()], { services }));
    expect(tokensOf(got)).toMatchObject([
      { alias: "ha-hdfs:ns1", service: "ha-hdfs:ns1", kind: "HDFS_DELEGATION_TOKEN" },
      { alias: "ha-webhdfs:ns1", service: "ha-webhdfs:ns1", kind: "WEBHDFS delegation" },
    ]);
  });

  it("of KMS are the provider's URI and its first host's address; of HttpFS never those of RPC", async () => {
    const kms = fake({ kind: "kms", hosts: ["kms1:9600"] });
    const fs = fake({ kind: "httpfs", hosts: ["fs:14000"] });
    const services = [
      { name: "kms", kind: "kms", urls: ["https://kms1:9600", "https://kms2:9600"] },
      { name: "fs", kind: "httpfs", url: "http://fs:14000" },
    ];
    expect(tokensOf(await obtain(provider([kms, fs], { services })))).toMatchObject([
      { alias: "kms://https@kms1;kms2:9600/kms", kind: "kms-dt" },
      { alias: "10.0.0.9:9600", kind: "kms-dt" },
      { alias: "10.0.0.9:14000", service: "10.0.0.9:14000", kind: "WEBHDFS delegation" },
    ]);
    const entries = [{ kind: "HDFS_DELEGATION_TOKEN", service: "x:1" }];
    const wrong = { services: [{ name: "fs", kind: "httpfs", url: "http://fs:14000", entries }] };
    expect(() => provider([], wrong)).toThrow();
  });

  it("of YARN are what the configuration says, and its expiry needs no renewal to be known", async () => {
    const rm = fake({ kind: "yarn", hosts: ["rm:8088"] });
    const services = [
      { name: "rm", kind: "yarn", url: "http://rm:8088", service: "10.0.0.5:8032" },
    ];
    const it = provider([rm], { services });
    const got = await obtain(it);
    expect(tokensOf(got)).toMatchObject([
      { alias: "10.0.0.5:8032", kind: "RM_DELEGATION_TOKEN", id: { owner: "etl" } },
    ]);
    expect(rm.asked).toEqual({ get: 1, renew: 0, cancel: 0 });
    clock.advance(15_000);
    const renewed = await obtain(it, credentialOf(got));
    expect(bytesOf(renewed)).toEqual(bytesOf(got));
    await it.cancel?.(credentialOf(renewed), NEVER);
    expect(rm.living).toBe(0);
  });

  it("name the proxy user as the owner and us as the real one", async () => {
    const it = provider([nameNode()], { services: [NN], doAs: "alice" });
    const [token] = tokensOf(await obtain(it));
    expect(token?.id).toMatchObject({ owner: "alice", realUser: "etl", renewer: "etl" });
  });

  it("with another renewer live as long as a token of our own shows, which is then cancelled", async () => {
    const nn = nameNode();
    const it = provider([nn], { services: [{ ...NN, renewer: "yarn" }] });
    const got = await obtain(it);
    expect(got.expiresAt).toBe(START + 20_000);
    expect(nn.asked).toEqual({ get: 2, renew: 1, cancel: 1 });
    clock.advance(15_000);
    const next = await obtain(it, credentialOf(got));
    expect(nn.asked).toEqual({ get: 3, renew: 1, cancel: 1 });
    expect(bytesOf(next)).not.toEqual(bytesOf(got));
  });

  it("that two services share are refused for the second, and the first goes on", async () => {
    const other = fake({ kind: "webhdfs", hosts: ["nn2:9870"] });
    const services = [NN, { ...NN, name: "other", url: "http://nn2:9870" }];
    const it = provider([nameNode(), other], { services });
    const got = await obtain(it);
    expect(got.problem).toMatchObject({ code: "ISSUER_REQUEST_INVALID" });
    expect(tokensOf(got).map(({ source }) => source)).toEqual(["nn"]);
    await it.cancel?.(credentialOf(got), NEVER);
    expect(other.living).toBe(0);
  });
});

describe("what goes wrong", () => {
  it("a standby, a node in safe mode and one that is away are passed over, and remembered", async () => {
    for (const mood of ["standby", "safe-mode", "away"] as const) {
      const nn = fake({ kind: "webhdfs", hosts: ["nn1:9870", "nn2:9870"] });
      nn.moods.set("nn1:9870", mood);
      requests = 0;
      const urls = ["http://nn1:9870", "http://nn2:9870"];
      const it = provider([nn], { services: [{ name: "nn", kind: "webhdfs", urls }] });
      const got = await obtain(it);
      expect(requests).toBe(3); // the renewal goes straight to the good one
      nn.moods.set("nn1:9870", "active");
      nn.moods.set("nn2:9870", mood);
      clock.advance(15_000);
      const next = await obtain(it, credentialOf(got));
      expect(bytesOf(next)).toEqual(bytesOf(got));
    }
  });

  it.each([
    ["standby", "ISSUER_UNAVAILABLE"],
    ["away", "ISSUER_UNAVAILABLE"],
    ["html", "ISSUER_ANSWER_UNUSABLE"],
    ["broken", "ISSUER_ANSWER_UNUSABLE"],
    ["no-tokens", "ISSUER_REQUEST_INVALID"],
    ["unauthorized", "ISSUER_IDENTITY_REJECTED"],
    ["spnego-refused", "ISSUER_IDENTITY_REJECTED"],
    ["denied", "ISSUER_DENIED"],
  ] as const)("a lone node that is %s fails as %s, after one request", async (mood, code) => {
    const nn = nameNode();
    nn.moods.set("nn1:9870", mood);
    await expect(obtain(provider([nn], { services: [NN] }))).rejects.toMatchObject({ code });
    expect(requests).toBe(1);
  });

  it("a renewer that is not us by the server's rules is denied, and its token is not left alive", async () => {
    const nn = nameNode({ caller: "svc_etl" });
    await expect(obtain(provider([nn], { services: [NN] }))).rejects.toThrow(/shortName/);
    expect(nn.living).toBe(0);
    const named = { services: [NN], shortName: "svc_etl" };
    expect((await obtain(provider([nn], named))).expiresAt).toBe(START + 20_000);
  });

  it("I6: one service that fails takes nothing from the others, nor asks them again", async () => {
    const nn = nameNode();
    const kms = fake({ kind: "kms", hosts: ["kms1:9600"], renewIntervalMs: 20_000 });
    const services = [NN, { name: "kms", kind: "kms", url: "http://kms1:9600", service: "k" }];
    const it = provider([nn, kms], { services });
    let credential = credentialOf(await obtain(it));
    kms.moods.set("kms1:9600", "away");
    clock.advance(15_000);
    const partly = await obtain(it, credential);
    expect(partly.problem).toMatchObject({ code: "ISSUER_UNAVAILABLE" });
    expect(partly.expiresAt).toBe(START + 35_000); // the pace is that of what still renews
    expect(tokensOf(partly)).toHaveLength(3); // to its own end
    credential = credentialOf(partly);
    const before = { ...nn.asked };
    clock.advance(1_000);
    await expect(obtain(it, credential)).rejects.toMatchObject({ code: "ISSUER_UNAVAILABLE" });
    expect(nn.asked).toEqual(before);
    clock.advance(5_000);
    const without = await obtain(it, credential);
    expect(tokensOf(without).map(({ source }) => source)).toEqual(["nn"]);
    expect(without.problem).toBeDefined();
    kms.moods.clear();
    const whole = await obtain(it, credentialOf(without));
    expect(whole.problem).toBeUndefined();
    expect(tokensOf(whole).map(({ source }) => source)).toEqual(["nn", "kms", "kms"]);
    expect(nn.asked).toEqual(before);
  });

  it("I6: a service that hangs is left before the call is over, and the others' tokens count", async () => {
    const nn = nameNode();
    const kms = fake({ kind: "kms", hosts: ["kms1:9600"] });
    const services = [NN, { name: "kms", kind: "kms", url: "http://kms1:9600" }];
    const it = provider([nn, kms], { services, requestTimeoutSec: 60 });
    kms.hang();
    const pending = obtain(it);
    await kms.hanging();
    // The other one's last request has come back: its timer is gone, and two are left.
    await eventually(() => nn.asked.renew === 1 && clock.pending().length === 2);
    clock.advance(7_000);
    const got = await pending;
    expect(got.problem).toMatchObject({ code: "ISSUER_TIMEOUT" });
    expect(tokensOf(got).map(({ source }) => source)).toEqual(["nn"]);
  });

  it("I6: a KDC that is away fails its own realm only; services of one login share it", async () => {
    const fakes = [
      nameNode(),
      fake({ kind: "kms", hosts: ["kms1:9600"] }),
      fake({ kind: "webhdfs", hosts: ["nnb:9870"] }),
    ];
    const services = [
      NN,
      { name: "kms", kind: "kms", url: "http://kms1:9600" },
      {
        ...NN,
        name: "b",
        url: "http://nnb:9870",
        nameservice: "b",
        principal: "etl@B.TEST",
        keytab: "/etc/b.keytab",
      },
    ];
    loginFails = (principal) => principal.endsWith("B.TEST");
    const got = await obtain(provider(fakes, { services }), undefined, { freshIdentity: true });
    expect(got.problem).toMatchObject({ code: "ISSUER_UNAVAILABLE" });
    expect(tokensOf(got).map(({ source }) => source)).toEqual(["nn", "kms", "kms"]);
    expect(logins).toEqual(["etl@A.TEST fresh", "etl@B.TEST fresh"]);
  });

  it("tokens of a service that has left the configuration are cancelled at the end where it is known", async () => {
    const nn = nameNode();
    const kms = fake({ kind: "kms", hosts: ["kms1:9600"] });
    const both = [NN, { name: "kms", kind: "kms", url: "http://kms1:9600" }];
    const credential = credentialOf(await obtain(provider([nn, kms], { services: both })));
    const it = provider([nn, kms], { services: [NN] });
    const less = credentialOf(await obtain(it, credential));
    expect(tokensOf(less).map(({ source }) => source)).toEqual(["nn"]);
    await it.cancel?.(less, NEVER);
    expect(nn.living).toBe(0);
  });
});

describe("options", () => {
  it.each([
    ["no principal", { principal: undefined }],
    ["no keytab and no cache", { keytab: undefined }],
    ["both", { ticketCache: "/tmp/cc" }],
    ["a cache that is no file", { keytab: undefined, ticketCache: "KEYRING:user" }],
    ["a principal without realm", { principal: "etl" }],
    ["url and urls", { services: [{ ...NN, urls: ["http://x"] }] }],
    ["two services of one name", { services: [NN, NN] }],
    ["yarn without its RPC address", { services: [{ name: "rm", kind: "yarn", url: "http://x" }] }],
    ["an unknown option", { services: [{ ...NN, renewr: "x" }] }],
    ["a file URL", { services: [{ ...NN, url: "file:///x" }] }],
  ])("are refused: %s", (_what, wrong) => {
    expect(() => provider([], { services: [NN], ...wrong })).toThrow();
  });

  it("take relative paths from the configuration's folder", async () => {
    const options = { principal: "etl@A.TEST", keytab: "etl.keytab", services: [NN] };
    const [service] = resolveServices(hadoopOptionsSchema.parse(options), "/etc/evergrant");
    expect(service?.login.keytab).toBe("/etc/evergrant/etl.keytab");
  });

  it("take a ticket cache in place of a keytab, for all or for one", () => {
    const cache = { keytab: undefined, ticketCache: "FILE:/tmp/cc", services: [NN] };
    expect(() => provider([], cache)).not.toThrow();
    expect(() => provider([], { services: [{ ...NN, ticketCache: "/tmp/cc" }] })).not.toThrow();
  });
});
