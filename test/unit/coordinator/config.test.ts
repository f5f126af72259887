/** job.yaml is judged as a whole: every fault at once, each with its path, none with what stands there. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import {
  parseJobConfig,
  readJobConfig,
  resolveProviders,
} from "../../../src/coordinator/config.ts";
import { EvergrantError } from "../../../src/protocol/errors.ts";

const dir = "/etc/evergrant";
const LAKE = `{name: lake, kind: aws-sts, action: AssumeRole, roleArn: "arn:aws:iam::123456789012:role/lake", region: eu-west-1}`;

/** `path: message` of each fault. */
async function faultsOf(text: string): Promise<string[]> {
  try {
    await resolveProviders(parseJobConfig(text, { dir }));
  } catch (thrown) {
    expect(thrown).toBeInstanceOf(EvergrantError);
    const { code, message, details } = thrown as EvergrantError;
    expect(code).toBe("CONFIG_INVALID");
    const lines = message.split("\n").slice(1);
    expect(lines).toHaveLength(Number(details["faults"]));
    return lines.map((line) => line.trim());
  }
  return [];
}
const pathsOf = async (text: string): Promise<string[]> =>
  (await faultsOf(text)).map((line) => line.slice(0, line.indexOf(": ")));

describe("a job's configuration", () => {
  it("with nothing but a job and a provider is whole, with the defaults of the design", async () => {
    const config = parseJobConfig(`job: etl\nproviders: [${LAKE}]`, { dir });
    expect(config).toMatchObject({
      tenant: "default",
      runDir: "./run",
      baseDir: dir,
      renewal: { ratio: 0.75 },
      timing: { leaseTtlSec: 30, beatSec: 15, lostSec: 45, retryFirstSec: 5, retryMaxSec: 300 },
      status: { host: "127.0.0.1" },
    });
    const [lake] = await resolveProviders(config);
    expect(lake?.options).toMatchObject({ durationSec: 3600 });
  });

  it("names every fault at once, of all sections", async () => {
    const text = `
job: "no blanks"
tenant: acme
colour: red
nats: {servers: ["http://x"], tls: {caFile: a, certificate: b}}
redis: {url: "mysql://x"}
renewal: {ratio: 1.2, jitter: 3}
timing: {beatSec: 0, retryMaxSec: 1e9}
status: {port: 70000}
log: {level: loud}
providers:
  - {name: lake, kind: aws-sts, callTimeoutSec: 0}
`;
    const paths = await pathsOf(text);
    for (const path of [
      "job",
      "(root)",
      "nats.servers.0",
      "nats.tls",
      "redis.url",
      "renewal.ratio",
      "renewal",
      "timing.beatSec",
      "timing.retryMaxSec",
      "status.port",
      "log.level",
      "providers.0.callTimeoutSec",
    ]) {
      expect(paths).toContain(path);
    }
    expect((await faultsOf(text)).join("\n")).toMatch(/colour/);
  });

  it("says what was expected of a number, with its bound", async () => {
    const faults = await faultsOf(`job: etl\nrenewal: {ratio: 1.2}\nproviders: [${LAKE}]`);
    expect(faults).toEqual([expect.stringMatching(/^renewal\.ratio: .*0\.95/)]);
    const short = `job: etl\nproviders: [${LAKE.replace("}", ", durationSec: 60, colour: red}")}]`;
    const own = await faultsOf(short);
    expect(own).toHaveLength(2);
    expect(own.join("\n")).toMatch(/providers\.0\.durationSec: .*900/);
    expect(own.join("\n")).toMatch(/colour/);
  });

  it("names the faults of each provider by its place, and those of one do not hide another's", async () => {
    const paths = await pathsOf(`
job: etl
providers:
  - {name: lake, kind: aws-sts, action: AssumeRole, roleArn: nonsense, region: eu-west-1}
  - {name: sea, kind: "@acme/evergrant-provider-that-is-not-there"}
  - {name: pond, kind: exec, command: []}
`);
    expect([...new Set(paths)]).toEqual([
      "providers.0.roleArn",
      "providers.1.kind",
      "providers.2.command",
    ]);
  });

  it("read from a file tells faults of a provider's own options beside all others", async () => {
    const folder = await mkdtemp(join(tmpdir(), "evergrant config-"));
    onTestFinished(() => rm(folder, { recursive: true }));
    const file = join(folder, "job.yaml");
    const short = LAKE.replace("}", ", durationSec: 60}");
    await writeFile(file, `job: etl\nrenewal: {ratio: 1.2}\nproviders: [${short}, {kind: exec}]`);
    const { message } = await readJobConfig(file).then(
      () => expect.fail("it has faults"),
      (thrown: EvergrantError) => thrown,
    );
    expect(message).toMatch(/3 fault/);
    expect(message).toMatch(
      /renewal\.ratio[\s\S]*providers\.1\.name[\s\S]*providers\.0\.durationSec/,
    );
    await expect(readJobConfig(join(folder, "none.yaml"))).rejects.toMatchObject({
      code: "FILE_UNUSABLE",
      message: expect.stringContaining("none.yaml"),
    });
  });

  it("refuses what can't work together", async () => {
    const twice = `job: etl\nproviders: [${LAKE}, ${LAKE}]`;
    expect(await pathsOf(twice)).toEqual(["providers.1.name"]);
    const lease = `job: etl\ntiming: {leaseTtlSec: 6, leaseMarginSec: 1, leaseRenewSec: 5, lostSec: 10, beatSec: 10}\nproviders: [${LAKE}]`;
    expect(await pathsOf(lease)).toEqual([
      "timing.leaseTtlSec",
      "timing.lostSec",
      "providers.0.callTimeoutSec",
    ]);
  });

  it("shows no password, neither a wrong one nor one beside a fault", async () => {
    const faults = await faultsOf(`
job: etl
nats: {servers: ["nats://user:in-the-url@host:4222"], user: u, password: in-the-file, passwordFile: f}
redis: {url: "redis://:in-redis@host:6379/x?y=1"}
providers: [${LAKE}]
`);
    expect(faults.length).toBeGreaterThanOrEqual(3);
    expect(faults.join("\n")).not.toMatch(/in-the-url|in-the-file|in-redis/);
  });

  it.each([
    ["no YAML at all", "job: [", /line 1/],
    ["a key that stands twice", "job: a\njob: b", /line 2/],
    ["an empty file", "", /job|providers/],
    ["a list", "- a\n- b", /root/],
  ])("that is %s is told by its place", async (_what, text, place) => {
    expect((await faultsOf(text)).join("\n")).toMatch(place);
  });
});
