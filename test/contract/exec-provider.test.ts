/** Provider `exec` against commands: small scripts that run under this Node. */
import { appendFile, chmod, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { execProvider } from "../../src/coordinator/providers/exec/index.ts";
import { hadoopTokensSchema } from "../../src/protocol/credential.ts";
import { classOf } from "../../src/protocol/errors.ts";
import { toRfc3339 } from "../../src/protocol/time.ts";
import {
  countingContext,
  credentialProviderContract,
  expectNoSecret,
  failureOf,
  type IssuerFault,
  recordingServices,
} from "./support/credential-provider-contract.ts";

const SECRET = "very-secret-access-key";
const MATERIAL = {
  accessKeyId: "ASIAEXAMPLEEXAMPLE00",
  secretAccessKey: SECRET,
  sessionToken: "very-secret-session-token",
};
const EXPIRES = "2099-01-01T00:00:00Z";
const GOOD = {
  version: 1,
  credentialKind: "aws-session",
  material: MATERIAL,
  expiresAt: EXPIRES,
  attributes: { region: "eu-west-1" },
};

/** Notes each run, then does as the file `behaviour` says. */
const SCRIPT = `
const { appendFileSync, readFileSync } = require("node:fs");
const { join } = require("node:path");
appendFileSync(join(__dirname, "runs"), "x");
const { print = "", exit = 0, complain = "", hang = false } = JSON.parse(readFileSync(join(__dirname, "behaviour"), "utf8"));
process.stderr.write(complain);
process.stdout.write(print);
process.exitCode = exit;
if (hang) setInterval(() => {}, 60_000);
`;

interface Behaviour {
  readonly print?: string;
  readonly exit?: number;
  readonly complain?: string;
  readonly hang?: boolean;
}

async function openBench() {
  const dir = await mkdtemp(join(tmpdir(), "evergrant exec-"));
  await writeFile(join(dir, "script.cjs"), SCRIPT);
  await writeFile(join(dir, "runs"), "");
  const logged: unknown[] = [];
  const behave = (behaviour: Behaviour): Promise<void> =>
    writeFile(join(dir, "behaviour"), JSON.stringify(behaviour));
  const runs = async (): Promise<number> => (await readFile(join(dir, "runs"), "utf8")).length;
  await behave({ print: JSON.stringify(GOOD) });
  const provider = (more: object = {}) =>
    execProvider.create(
      execProvider.options.parse({ command: [process.execPath, join(dir, "script.cjs")], ...more }),
      recordingServices(dir, logged),
    );
  return {
    dir,
    logged,
    behave,
    runs,
    provider,
    close: () => rm(dir, { recursive: true, force: true }),
  };
}
type Bench = Awaited<ReturnType<typeof openBench>>;

const complain = `Traceback: the key was ${SECRET}`;
const { expiresAt: _, ...endless } = GOOD;
const BEHAVIOUR: Readonly<Partial<Record<IssuerFault, Behaviour>>> = {
  throttled: { exit: 75, complain },
  broken: { exit: 1, complain, print: JSON.stringify(GOOD) },
  denied: { exit: 77, complain },
  garbage: { print: `<html>${SECRET}</html>` },
  hangs: { hang: true, print: JSON.stringify(GOOD) },
  "no-expiry": { print: JSON.stringify(endless) },
  "past-expiry": { print: JSON.stringify({ ...GOOD, expiresAt: "2001-01-01T00:00:00+01:00" }) },
};

credentialProviderContract(
  "exec",
  async () => {
    const bench = await openBench();
    return {
      provider: bench.provider(),
      kind: "aws-session",
      breakIssuer: (fault) => bench.behave(BEHAVIOUR[fault] ?? {}),
      mendIssuer: () => bench.behave({ print: JSON.stringify(GOOD) }),
      requestsSeen: bench.runs,
      hanging: () =>
        vi.waitFor(async () => expect(await bench.runs()).toBe(2), { timeout: 20_000 }),
      baseSecrets: [SECRET],
      logged: bench.logged,
      close: bench.close,
    };
  },
  { faults: Object.keys(BEHAVIOUR) as IssuerFault[], identity: false },
);

describe("exec", () => {
  let bench: Bench;
  beforeEach(async () => {
    bench = await openBench();
  });
  afterEach(() => bench.close());

  test("its own form is read: material, expiry, issue and attributes", async () => {
    await bench.behave({ print: JSON.stringify({ ...GOOD, issuedAt: "2098-12-31T23:00:00Z" }) });
    const provider = bench.provider({ attributes: { region: "us-east-1", team: "lake" } });
    const obtained = await provider.obtain(countingContext());
    expect(obtained.material.reveal()).toEqual(MATERIAL);
    expect(obtained.expiresAt && toRfc3339(obtained.expiresAt)).toBe(EXPIRES);
    expect(obtained.issuedAt && toRfc3339(obtained.issuedAt)).toBe("2098-12-31T23:00:00Z");
    expect(obtained.attributes).toEqual({ region: "eu-west-1", team: "lake" });
  });

  test("the form of credential_process is read, too", async () => {
    const { accessKeyId, secretAccessKey, sessionToken } = MATERIAL;
    const printed = {
      Version: 1,
      AccessKeyId: accessKeyId,
      SecretAccessKey: secretAccessKey,
      SessionToken: sessionToken,
      Expiration: EXPIRES,
      AccountId: "123456789012",
    };
    await bench.behave({ print: JSON.stringify(printed) });
    const obtained = await bench.provider().obtain(countingContext());
    expect(obtained.material.reveal()).toEqual(MATERIAL);
    expect(obtained.attributes).toEqual({ accountId: "123456789012" });
  });

  test("a kind that nobody knows travels unchanged", async () => {
    const print = JSON.stringify({
      ...GOOD,
      credentialKind: "vault",
      material: { token: "hvs.x" },
    });
    await bench.behave({ print });
    const provider = bench.provider({ credentialKind: "vault" });
    expect(provider.credentialKind).toBe("vault");
    expect(provider.minRemaining).toBe(0);
    const obtained = await provider.obtain(countingContext());
    expect(obtained.material.reveal()).toEqual({ token: "hvs.x" });
  });

  test.each([
    ["another kind than configured", { ...GOOD, credentialKind: "google-token" }],
    ["another version", { ...GOOD, version: 2 }],
    ["an unknown field", { ...GOOD, [SECRET]: 1 }],
    ["no material", { ...GOOD, material: undefined }],
    ["material of the wrong form", { ...GOOD, material: { secretAccessKey: SECRET } }],
    ["an expiry without a zone", { ...GOOD, expiresAt: "2099-01-01T00:00:00" }],
    ["an expiry that is no day", { ...GOOD, expiresAt: "2099-99-01T00:00:00Z" }],
    ["an expiry as a number", { ...GOOD, expiresAt: 4_070_908_800 }],
    ["a list", [SECRET]],
    ["null", null],
  ])("%s is an unusable answer, and nothing of it is shown", async (_what, printed) => {
    await bench.behave({ print: JSON.stringify(printed) });
    const error = await failureOf(bench.provider().obtain(countingContext()));
    expect(error.code).toBe("ISSUER_ANSWER_UNUSABLE");
    expectNoSecret(error, [SECRET]);
  });

  test.each([
    [75, "transient"],
    [77, "denied"],
    [78, "invalid"],
    [1, "transient"],
    [127, "transient"],
  ])(
    "exit code %i is %s; of the standard error only the length is told",
    async (exit, expected) => {
      await bench.behave({ exit, complain });
      const error = await failureOf(bench.provider().obtain(countingContext()));
      expect(classOf(error.code)).toBe(expected);
      expect(error.details).toMatchObject({ exitCode: exit, stderrBytes: complain.length });
      expectNoSecret(error, [SECRET]);
    },
  );

  test("more than 1 MiB of output is cut off, and the command is ended", async () => {
    await bench.behave({ print: "x".repeat(1024 * 1024 + 1), hang: true });
    const error = await failureOf(bench.provider().obtain(countingContext()));
    expect(error.code).toBe("ISSUER_ANSWER_UNUSABLE");
  });

  test("a program that is not there is a missing input", async () => {
    const provider = bench.provider({ command: [join(bench.dir, "no such program")] });
    const error = await failureOf(provider.obtain(countingContext()));
    expect(error.code).toBe("PROVIDER_INPUT_MISSING");
    expect(error.details).toMatchObject({ reason: "ENOENT" });
  });

  test("paths are relative to the configuration's folder, in which the command runs", async () => {
    await mkdir(join(bench.dir, "bin"));
    const told = JSON.stringify({ ...GOOD, attributes: { where: "PLACE" } });
    const program = join(bench.dir, "bin", "login");
    await writeFile(program, `#!/bin/sh\ncat <<END | sed "s|PLACE|$PWD|"\n${told}\nEND\n`);
    await chmod(program, 0o755);
    const where = async (more: object) =>
      (await bench.provider({ command: ["./bin/login"], ...more }).obtain(countingContext()))
        .attributes["where"];
    expect(await where({})).toBe(bench.dir);
    expect(await where({ cwd: "bin" })).toBe(join(bench.dir, "bin"));
  });

  test("no shell reads the arguments", async () => {
    const odd = "$(touch x); `id` | & \"' *";
    const script = `console.log(JSON.stringify({ ...${JSON.stringify(GOOD)}, attributes: { got: process.argv[1] } }))`;
    const provider = bench.provider({ command: [process.execPath, "-e", script, odd] });
    expect((await provider.obtain(countingContext())).attributes).toMatchObject({ got: odd });
  });

  test("the command gets its situation and what is configured, and none of the coordinator's keys", async () => {
    vi.stubEnv("AWS_SECRET_ACCESS_KEY", SECRET);
    vi.stubEnv("HANDED_ON", "yes");
    const script = `console.log(JSON.stringify({ ...${JSON.stringify(GOOD)}, attributes: process.env }))`;
    const provider = bench.provider({
      command: [process.execPath, "-e", script],
      env: { CONFIGURED: "1", EVERGRANT_JOB: "not this" },
      passEnv: ["HANDED_ON", "NOT_SET"],
    });
    const { attributes } = await provider.obtain(countingContext({ freshIdentity: true }));
    vi.unstubAllEnvs();
    expect(attributes).toMatchObject({
      CONFIGURED: "1",
      HANDED_ON: "yes",
      EVERGRANT_TENANT: "default",
      EVERGRANT_JOB: "etl",
      EVERGRANT_PROVIDER: "lake",
      EVERGRANT_FRESH_IDENTITY: "1",
      EVERGRANT_REPLACE: "0",
    });
    expect(Object.keys(attributes)).not.toContain("AWS_SECRET_ACCESS_KEY");
  });

  test("what the command has started ends with it when time is up", async () => {
    const child = `require("node:fs").appendFileSync(process.argv[1], process.pid + "\\n"); setInterval(() => {}, 60_000)`;
    const pids = join(bench.dir, "pids");
    await appendFile(pids, "");
    const script = `require("node:child_process").spawn(process.execPath, ["-e", ${JSON.stringify(child)}, process.argv[1]], { stdio: "ignore" }); setInterval(() => {}, 60_000)`;
    const provider = bench.provider({ command: [process.execPath, "-e", script, pids] });
    const end = new AbortController();
    const ended = failureOf(provider.obtain(countingContext({ signal: end.signal })));
    const pid = await vi.waitFor(
      async () => {
        const read = Number(await readFile(pids, "utf8"));
        expect(read).toBeGreaterThan(0);
        return read;
      },
      { timeout: 20_000 },
    );
    end.abort();
    expect((await ended).code).toBe("ISSUER_TIMEOUT");
    await vi.waitFor(() => expect(() => process.kill(pid, 0)).toThrow(/ESRCH/), {
      timeout: 20_000,
    });
  });

  describe("with a Hadoop token file", () => {
    const writing = (source: string) => {
      const path = join(bench.dir, "tokens");
      const script = `if (process.argv[1] !== "") require("node:fs").writeFileSync(process.env.EVERGRANT_TOKEN_FILE, Buffer.from(process.argv[1], "hex"))`;
      return bench.provider({
        command: [process.execPath, "-e", script, source],
        output: { hadoopTokenFile: path },
      });
    };
    const file = async (name: "fileV0" | "emptyV0"): Promise<string> => {
      const vectors = new URL("../vectors/hdts-vectors.json", import.meta.url);
      const parsed = JSON.parse(await readFile(vectors, "utf8")) as Record<string, string>;
      const text = parsed[name] ?? expect.fail(`no vector ${name}`);
      return name === "fileV0" ? Buffer.from(text, "base64").toString("hex") : text;
    };

    test("its tokens are read, without an expiry", async () => {
      const provider = writing(await file("fileV0"));
      expect(provider.credentialKind).toBe("hadoop-tokens");
      const { material, expiresAt } = await provider.obtain(countingContext());
      expect(hadoopTokensSchema.parse(material.reveal()).tokens.length).toBeGreaterThan(0);
      expect(expiresAt).toBeUndefined();
    });

    test("one that is empty or cut is an unusable answer", async () => {
      const cut = (await file("fileV0")).slice(0, 20);
      for (const source of [await file("emptyV0"), cut]) {
        const error = await failureOf(writing(source).obtain(countingContext()));
        expect(error.code).toBe("ISSUER_ANSWER_UNUSABLE");
      }
    });

    test("one that was left from before is not taken for a new one", async () => {
      await writing(await file("fileV0")).obtain(countingContext());
      const error = await failureOf(writing("").obtain(countingContext()));
      expect(error.code).toBe("ISSUER_ANSWER_UNUSABLE");
      expect(error.message).toContain("did not write the token file");
    });
  });

  test("life that must remain follows the kind, and can be set", () => {
    expect(bench.provider().minRemaining).toBe(960_000);
    expect(bench.provider({ credentialKind: "google-token" }).minRemaining).toBe(360_000);
    expect(bench.provider({ minRemainingSec: 5 }).minRemaining).toBe(5_000);
  });
});
