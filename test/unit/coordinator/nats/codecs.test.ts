/** What is stored for a job: sealed state, readable lease, and what becomes of bytes that do not open. */
import { describe, expect, it } from "vitest";
import { joseSealer } from "../../../../src/coordinator/adapters/jose-sealer.ts";
import { codedRegister } from "../../../../src/coordinator/adapters/nats-register/coded-register.ts";
import { leaseCodec } from "../../../../src/coordinator/adapters/nats-register/lease-codec.ts";
import { sealedVersion } from "../../../../src/coordinator/adapters/nats-register/sealed-version.ts";
import { stateCodec } from "../../../../src/coordinator/adapters/nats-register/state-codec.ts";
import { type JobState, NO_CALLS } from "../../../../src/coordinator/core/job-state.ts";
import type { LeaseRecord } from "../../../../src/coordinator/core/lease-record.ts";
import type { CasRegister, Reading } from "../../../../src/coordinator/ports/cas-register.ts";
import type { Bundle } from "../../../../src/protocol/bundle.ts";
import { utf8 } from "../../../../src/protocol/encoding.ts";
import {
  boxed,
  createJobKeySet,
  currentSet,
  type JobKeyFile,
  newGroupKid,
} from "../../../../src/protocol/keys.ts";
import type { Outcome } from "../../../../src/protocol/outcome.ts";
import { Secret } from "../../../../src/protocol/secret.ts";
import { durationMs, epochMs } from "../../../../src/protocol/time.ts";
import { systemRandom } from "../../../../src/runtime/system-clock.ts";
import { MemoryStore } from "../../../support/memory-register.ts";

const CANARY = "canary-of-a-secret-access-key";
const newFile = async (job = "etl"): Promise<JobKeyFile> => ({
  version: 1,
  tenant: "acme",
  job,
  sets: [await createJobKeySet(epochMs(1), systemRandom)],
});

const state: JobState = {
  term: 17,
  generation: 4,
  writeNonce: "nonce",
  groupKids: ["kid-2", "kid-1"],
  providers: {
    lake: {
      configDigest: "digest",
      credential: {
        provider: "lake",
        kind: "aws-session",
        generation: 4,
        issuedAt: epochMs(1000),
        expiresAt: epochMs(2000),
        issuerSkew: durationMs(-3),
        attributes: { region: "eu-west-1" },
        material: new Secret({ secretAccessKey: CANARY }),
      },
      renewAt: epochMs(1750),
      jitter: durationMs(12.5),
      attempt: 3,
      intent: { nonce: "n", reason: "scheduled", duration: durationMs(30_000) },
      counts: { ...NO_CALLS, calls: 3, obtained: 2, failures: 1 },
    },
    bare: {
      configDigest: "digest",
      credential: undefined,
      renewAt: undefined,
      jitter: durationMs(0),
      attempt: 0,
      intent: undefined,
      counts: NO_CALLS,
    },
  },
  tombstones: [{ provider: "old", generation: 2 }],
  tokenUses: { "token-1": 7 },
};
/** Boxes never compare equal by what is in them: open them. */
const plain = (value: JobState): unknown => ({
  ...value,
  providers: Object.fromEntries(
    Object.entries(value.providers).map(([name, record]) => [
      name,
      {
        ...record,
        credential: record.credential && {
          ...record.credential,
          material: record.credential.material.reveal(),
        },
      },
    ]),
  ),
});

const read = <T>(register: CasRegister<T>): Promise<Outcome<Reading<T>>> =>
  new Promise((resolve) => register.read(resolve));
const write = <T>(register: CasRegister<T>, value: T): Promise<Outcome<number>> =>
  new Promise((resolve) => register.write(undefined, value, resolve));

describe("the state", () => {
  it("is the same after a round, and nothing secret is readable in between (I9)", async () => {
    const file = await newFile();
    const store = new MemoryStore();
    const raw = store.register<Uint8Array>("k");
    const register = codedRegister(raw, stateCodec(boxed(file)));
    expect((await write(register, state)).ok).toBe(true);
    const stored = Buffer.from(store.peek("k") as Uint8Array).toString("utf8");
    const everything = stored.split(".").map((part) => Buffer.from(part, "base64url").toString());
    expect(stored + everything.join()).not.toContain(CANARY);
    const reading = await read(register);
    if (!reading.ok || reading.value.entry === undefined) throw new Error("not read");
    expect(plain(reading.value.entry.value)).toEqual(plain(state));
  });

  it("is sealed by the first key set and opened by any", async () => {
    const file = await newFile();
    const fresh = await createJobKeySet(epochMs(2), systemRandom);
    const rotated = boxed({ ...file, sets: [fresh, ...file.sets] });
    const old = await stateCodec(boxed(file)).encode(state);
    expect(plain(await stateCodec(rotated).decode(old))).toEqual(plain(state));
    const anew = await stateCodec(rotated).encode(state);
    await expect((async () => stateCodec(boxed(file)).decode(anew))()).rejects.toThrow();
  });

  it("of another job, under another key, bent or of no known form is unreadable, and nothing else", async () => {
    const file = await newFile();
    const other = { ...file, job: "other" };
    const good = await stateCodec(boxed(file)).encode(state);
    const bent = Buffer.from(good);
    bent.writeUInt8(bent.readUInt8(bent.length - 30) === 65 ? 66 : 65, bent.length - 30);
    const cases: [string, Uint8Array][] = [
      ["another job's", await stateCodec(boxed(other)).encode(state)],
      ["another key's", await stateCodec(boxed(await newFile())).encode(state)],
      ["bent", bent],
      ["garbage", utf8("garbage")],
      ["nothing", new Uint8Array(0)],
    ];
    for (const [what, bytes] of cases) {
      const store = new MemoryStore();
      await write(store.register<Uint8Array>("k"), bytes);
      const reading = await read(
        codedRegister(store.register<Uint8Array>("k"), stateCodec(boxed(file))),
      );
      expect(reading.ok ? "ok" : reading.error.code, what).toBe("STORE_UNREADABLE");
    }
  });

  it("that is not there or can't be reached is told as such", async () => {
    const store = new MemoryStore();
    const register = codedRegister(
      store.register<Uint8Array>("k"),
      stateCodec(boxed(await newFile())),
    );
    const empty = await read(register);
    expect(empty.ok && empty.value.entry).toBeUndefined();
    store.down();
    const away = await read(register);
    expect(away.ok ? "ok" : away.error.code).toBe("STORE_UNAVAILABLE");
  });
});

it("the lease is readable JSON, and what is none is held by somebody unknown", async () => {
  const lease: LeaseRecord = { holder: "h", term: 3, renewals: 9, state: "held" };
  const store = new MemoryStore();
  await write(codedRegister(store.register<Uint8Array>("k"), leaseCodec), lease);
  expect(JSON.parse(Buffer.from(store.peek("k") as Uint8Array).toString())).toEqual({
    v: 1,
    ...lease,
  });
  const reading = await read(codedRegister(store.register<Uint8Array>("k"), leaseCodec));
  expect(reading.ok && reading.value.entry?.value).toEqual(lease);
  for (const bytes of [utf8('{"v":1,"holder":"h"}'), utf8("garbage"), new Uint8Array(0)]) {
    const bad = new MemoryStore().register<Uint8Array>("bad");
    await write(bad, bytes);
    const found = await read(codedRegister(bad, leaseCodec));
    expect(found.ok && found.value.entry?.value).toEqual({
      holder: "",
      term: 0,
      renewals: 0,
      state: "held",
    });
  }
});

it("a sealed bundle says its version without a key, and garbage says none", async () => {
  const file = await newFile();
  const bundle: Bundle = {
    tenant: "acme",
    job: "etl",
    term: 5,
    generation: 6,
    sealedAt: epochMs(1),
    expiresAt: epochMs(2),
    credentials: [],
    tombstones: [],
  };
  const kid = newGroupKid(currentSet(file), systemRandom);
  const sealed = await new Promise<Uint8Array>((resolve, reject) =>
    joseSealer(boxed(file)).seal(bundle, kid, (outcome) =>
      outcome.ok ? resolve(outcome.value) : reject(outcome.error),
    ),
  );
  expect(sealedVersion(sealed)).toMatchObject({ term: 5, generation: 6, kid });
  expect(sealedVersion(utf8("garbage"))).toBeUndefined();
  expect(sealedVersion(new Uint8Array(0))).toBeUndefined();
});

it("a bundle that is too large fails as such", async () => {
  const file = await newFile();
  const material = new Secret({ filler: "x".repeat(500_000) });
  const credential = {
    ...state.providers["lake"]?.credential,
    material,
  } as Bundle["credentials"][0];
  const bundle = {
    tenant: "acme",
    job: "etl",
    term: 1,
    generation: 1,
    sealedAt: epochMs(1),
    expiresAt: epochMs(2),
    credentials: [credential],
    tombstones: [],
  };
  const outcome = await new Promise<Outcome<Uint8Array>>((resolve) =>
    joseSealer(boxed(file)).seal(bundle, newGroupKid(currentSet(file), systemRandom), resolve),
  );
  expect(outcome.ok ? "ok" : outcome.error.code).toBe("MESSAGE_TOO_LARGE");
});
