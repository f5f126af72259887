/** The real KMS, HttpFS and ResourceManager: tokens of each, got, renewed in place and cancelled. */
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Obtained } from "../../src/coordinator/ports/credential-provider.ts";
import { hadoopProvider } from "../../src/coordinator/providers/hadoop/index.ts";
import {
  type Credential,
  HADOOP_TOKENS,
  hadoopTokensSchema,
} from "../../src/protocol/credential.ts";
import { identifierOf } from "../../src/protocol/hadoop/identifier.ts";
import { tokenFromUrlString } from "../../src/protocol/hadoop/token.ts";
import { durationMs, epochMs } from "../../src/protocol/time.ts";
import { systemClock, systemRandom } from "../../src/runtime/system-clock.ts";
import { eventually } from "../support/eventually.ts";
import { serverKeytab, startService, type TestService } from "./support/hadoop-services.ts";
import { startRealm, type TestRealm } from "./support/kdc.ts";

/** Long enough for a call to each on a busy machine, and an extension of which 2.5 s are more than 8 %. */
const LIVES = { renewIntervalSec: 30, maxLifetimeSec: 90 };
const KINDS = ["kms", "httpfs", "yarn"] as const;

let realm: TestRealm;
let keytab: string;
const services = new Map<(typeof KINDS)[number], TestService>();

beforeAll(async () => {
  realm = await startRealm("A.TEST");
  keytab = await realm.keytab("etl.keytab", "etl@A.TEST");
  const servers = await serverKeytab(realm);
  for (const kind of KINDS) services.set(kind, await startService(kind, realm, servers, LIVES));
});
afterAll(async () => {
  await Promise.all([...services.values()].map((service) => service.remove()));
  await realm?.remove();
});

test.each([
  ["kms", "kms-dt", "alice", "etl"],
  ["httpfs", "WEBHDFS delegation", "alice", "etl"],
  ["yarn", "RM_DELEGATION_TOKEN", "etl@A.TEST", ""],
] as const)(
  "%s hands out a token of kind %s, renews it in place and forgets it when it is cancelled",
  async (kind, tokenKind, owner, realUser) => {
    const service = {
      name: kind,
      kind,
      url: services.get(kind)?.url,
      ...(kind === "yarn" ? { service: "127.0.0.1:8032" } : { doAs: owner }),
    };
    const login = { principal: "etl@A.TEST", keytab, krb5Config: realm.krb5Config };
    const provider = hadoopProvider.create(
      // A server that has just started answers its first request seconds late.
      hadoopProvider.options.parse({
        ...login,
        requestTimeoutSec: 25,
        serviceTimeoutSec: 25,
        services: [service],
      }),
      {
        name: "lake",
        tenant: "default",
        job: "etl",
        clock: systemClock,
        random: systemRandom,
        baseDir: realm.dir,
        workDir: `${realm.dir}/work-${kind}`,
        log: () => undefined,
      },
    );
    const obtain = (current: Credential | undefined): Promise<Obtained> =>
      provider.obtain({
        current,
        freshIdentity: false,
        replace: false,
        signal: AbortSignal.timeout(30_000),
        countRequest: () => undefined,
      });
    try {
      const first = await obtain(undefined);
      const lived = Number(first.expiresAt) - Number(first.issuedAt);
      expect(Math.abs(lived - LIVES.renewIntervalSec * 1000)).toBeLessThan(10_000);
      const [entry] = hadoopTokensSchema.parse(first.material.reveal()).tokens;
      const token = tokenFromUrlString(entry?.urlString ?? "");
      expect(token.kind).toBe(tokenKind);
      expect(identifierOf(token)).toMatchObject({ owner, renewer: "etl", realUser });

      const credential: Credential = {
        provider: "lake",
        kind: HADOOP_TOKENS,
        generation: 1,
        issuedAt: epochMs(Number(first.issuedAt)),
        expiresAt: epochMs(Number(first.expiresAt)),
        issuerSkew: durationMs(0),
        attributes: {},
        material: first.material,
      };
      // From 8 % of its extension on it may be renewed.
      await eventually(() => systemClock.now().wall > Number(first.issuedAt) + 2_500);
      const renewed = await obtain(credential);
      const [again] = hadoopTokensSchema.parse(renewed.material.reveal()).tokens;
      expect(again?.urlString).toBe(entry?.urlString);
      expect(Number(renewed.expiresAt)).toBeGreaterThan(Number(first.expiresAt) + 1_000);

      await provider.cancel?.(credential, AbortSignal.timeout(30_000));
      await eventually(() => systemClock.now().wall > Number(renewed.issuedAt) + 2_500);
      // A renewal of the cancelled token finds it gone, and a new one takes its place at once.
      const anew = await obtain({
        ...credential,
        issuedAt: epochMs(Number(renewed.issuedAt)),
        expiresAt: epochMs(Number(renewed.expiresAt)),
        material: renewed.material,
      });
      const [other] = hadoopTokensSchema.parse(anew.material.reveal()).tokens;
      expect(other?.urlString).not.toBe(entry?.urlString);
    } finally {
      await provider.close();
    }
  },
);
