import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Credential, HADOOP_TOKENS } from "../../../src/protocol/credential.ts";
import { encodeIdentifier } from "../../../src/protocol/hadoop/identifier.ts";
import { type HadoopToken, tokenToUrlString } from "../../../src/protocol/hadoop/token.ts";
import { readTokenStorage, writeTokenStorage } from "../../../src/protocol/hadoop/token-storage.ts";
import { Secret } from "../../../src/protocol/secret.ts";
import { durationMs, epochMs, later, monoMs } from "../../../src/protocol/time.ts";
import { systemRandom } from "../../../src/runtime/system-clock.ts";
import type {
  CredentialReceiver,
  Serving,
} from "../../../src/worker-agent/ports/credential-receiver.ts";
import { hadoopTokenFile } from "../../../src/worker-agent/receivers/hadoop-token-file/index.ts";
import { ManualClock } from "../../support/manual-clock.ts";

const START = epochMs(1_700_000_000_000);
let dir: string;
let file: string;
let clock: ManualClock;
const warnings: string[] = [];

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "evergrant-htf-"));
  file = join(dir, "tokens");
  clock = new ManualClock({ wall: START, mono: monoMs(1_000) });
  warnings.length = 0;
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

function token(service: string, sequenceNumber = 1): HadoopToken {
  const identifier = encodeIdentifier({
    owner: "alice",
    renewer: "etl",
    realUser: "",
    issueDate: BigInt(START),
    maxDate: BigInt(START + 60_000),
    sequenceNumber,
    masterKeyId: 1,
  });
  const password = new Secret(Uint8Array.from({ length: 20 }, (_, at) => at + sequenceNumber));
  return { identifier, password, kind: "HDFS_DELEGATION_TOKEN", service };
}

interface Entry {
  readonly alias: string;
  readonly sequenceNumber?: number;
  readonly livesMs?: number;
}

/** A credential that lives 20 s, with these tokens in it. */
function serving(entries: readonly Entry[]): Serving {
  const now = clock.now();
  const expiresAt = epochMs(now.wall + 20_000);
  const credential: Credential = {
    provider: "lake",
    kind: HADOOP_TOKENS,
    generation: 1,
    issuedAt: now.wall,
    expiresAt,
    issuerSkew: durationMs(0),
    attributes: {},
    material: new Secret({
      tokens: entries.map(({ alias, sequenceNumber, livesMs }) => ({
        alias,
        urlString: tokenToUrlString(token(alias, sequenceNumber)),
        ...(livesMs === undefined ? {} : { expiresAtMs: now.wall + livesMs }),
      })),
    }),
  };
  return { credential, until: later(now.mono, durationMs(20_000)) };
}

async function receiver(options: Record<string, unknown> = {}): Promise<CredentialReceiver> {
  const made = hadoopTokenFile.create(hadoopTokenFile.options.parse({ path: file, ...options }), {
    tenant: "default",
    job: "etl",
    agent: "a1",
    provider: "lake",
    clock,
    random: systemRandom,
    stateDir: dir,
    workDir: dir,
    log: (_level, message) => warnings.push(message),
  });
  await made.start();
  return made;
}

const read = () => readTokenStorage(readFileSync(file));
const aliases = (): string[] => [...read().tokens.keys()].sort();

describe("hadoop-token-file", () => {
  it("tells consumers where the file is, and writes it whole, version 0, for its owner only", async () => {
    const it = await receiver();
    expect(await it.start()).toEqual({ set: { HADOOP_TOKEN_FILE_LOCATION: file }, unset: [] });
    await it.apply(serving([{ alias: "ha-hdfs:ns1" }]));
    expect(readFileSync(file)[4]).toBe(0);
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(read().tokens.get("ha-hdfs:ns1")?.service).toBe("ha-hdfs:ns1");
    await it.stop();
  });

  it("takes path, mode and format from its options", async () => {
    const it = await receiver({ mode: "0440", format: 1 });
    await it.apply(serving([{ alias: "a" }]));
    expect(statSync(file).mode & 0o777).toBe(0o440);
    expect(readFileSync(file)[4]).toBe(1);
    await it.stop();
  });

  it("replaces its own entries by alias and keeps those of others", async () => {
    const foreign = {
      ...token("hbase"),
      identifier: Uint8Array.of(9, 9),
      kind: "HBASE_AUTH_TOKEN",
    };
    const others = new Map([["hbase", foreign]]);
    const secrets = new Map([["theirs", new Secret(Uint8Array.of(1, 2))]]);
    writeFileSync(file, writeTokenStorage({ tokens: others, secrets }, 1));
    const it = await receiver();
    await it.apply(serving([{ alias: "a" }, { alias: "b" }]));
    await it.apply(serving([{ alias: "a", sequenceNumber: 2 }]));
    expect(aliases()).toEqual(["a", "hbase"]);
    expect(read().tokens.get("a")?.identifier).toEqual(token("a", 2).identifier);
    expect(read().tokens.get("hbase")).toEqual(foreign);
    expect([...read().secrets.keys()]).toEqual(["theirs"]);
    await it.withdraw("lake");
    expect(aliases()).toEqual(["hbase"]);
  });

  it("knows its own entries again after a restart", async () => {
    const first = await receiver();
    await first.apply(serving([{ alias: "a" }, { alias: "gone" }]));
    await first.stop();
    expect(aliases()).toEqual(["a", "gone"]);
    const second = await receiver();
    await second.apply(serving([{ alias: "a" }]));
    expect(aliases()).toEqual(["a"]);
    await second.stop();
  });

  it("I2: removes each token at its own end, and the others stay", async () => {
    const it = await receiver();
    await it.apply(serving([{ alias: "short", livesMs: 5_000 }, { alias: "long" }]));
    expect(aliases()).toEqual(["long", "short"]);
    clock.advance(4_999);
    expect(clock.pending()).toHaveLength(1);
    const rearmed = clock.nextArmed();
    clock.advance(1);
    await rearmed;
    expect(aliases()).toEqual(["long"]);
    await it.stop();
    expect(clock.pending()).toEqual([]);
  });

  it("I2: never writes a token that has ended on its way here", async () => {
    const it = await receiver();
    const late = serving([{ alias: "ended", livesMs: 5_000 }, { alias: "alive" }]);
    clock.advance(5_000);
    await it.apply(late);
    expect(aliases()).toEqual(["alive"]);
    await it.stop();
  });

  it.each([
    ["cut", (whole: Uint8Array) => whole.subarray(0, -1)],
    ["of a future version", () => Uint8Array.of(0x48, 0x44, 0x54, 0x53, 2, 0, 0)],
    ["something else", () => new TextEncoder().encode("<html>")],
  ])("leaves a file that is %s as it is, and says so", async (_what, spoil) => {
    const whole = writeTokenStorage({ tokens: new Map([["x", token("x")]]), secrets: new Map() });
    const spoilt = spoil(whole);
    writeFileSync(file, spoilt);
    const it = await receiver();
    await expect(it.apply(serving([{ alias: "a" }]))).rejects.toMatchObject({
      code: "RECEIVER_FAILED",
    });
    expect(new Uint8Array(readFileSync(file))).toEqual(new Uint8Array(spoilt));
    const owner = await receiver({ merge: false });
    await owner.apply(serving([{ alias: "a" }]));
    expect(aliases()).toEqual(["a"]);
    await owner.stop();
  });

  it("refuses a credential that holds no tokens, and goes on serving what it has", async () => {
    const it = await receiver();
    await it.apply(serving([{ alias: "a" }]));
    const good = serving([]);
    for (const tokens of [undefined, [{ alias: "a", urlString: "AAAA" }]]) {
      const material = new Secret(tokens === undefined ? {} : { tokens });
      const bad = { ...good, credential: { ...good.credential, material } };
      await expect(it.apply(bad)).rejects.toMatchObject({ code: "RECEIVER_FAILED" });
    }
    expect(aliases()).toEqual(["a"]);
    await it.stop();
  });

  it("shares one file with another provider's receiver without losing a token", async () => {
    const one = await receiver();
    const other = hadoopTokenFile.create(hadoopTokenFile.options.parse({ path: file }), {
      tenant: "default",
      job: "etl",
      agent: "a1",
      provider: "other",
      clock,
      random: systemRandom,
      stateDir: dir,
      workDir: dir,
      log: () => undefined,
    });
    await other.start();
    await Promise.all(
      [1, 2, 3, 4, 5].flatMap((sequenceNumber) => [
        one.apply(serving([{ alias: "one", sequenceNumber }])),
        other.apply(serving([{ alias: "other", sequenceNumber }])),
      ]),
    );
    expect(aliases()).toEqual(["one", "other"]);
    expect(read().tokens.get("other")?.identifier).toEqual(token("other", 5).identifier);
    await Promise.all([one.stop(), other.stop()]);
  });

  it("tries again to remove an ended token when the file could not be written", async () => {
    const it = await receiver();
    await it.apply(serving([{ alias: "short", livesMs: 5_000 }, { alias: "long" }]));
    const good = readFileSync(file);
    writeFileSync(file, "not ours");
    let rearmed = clock.nextArmed();
    clock.advance(5_000);
    await rearmed;
    expect(warnings).toEqual(["an ended token could not be removed"]);
    writeFileSync(file, good);
    rearmed = clock.nextArmed();
    clock.advance(5_000);
    await rearmed;
    expect(aliases()).toEqual(["long"]);
    await it.stop();
  });
});
