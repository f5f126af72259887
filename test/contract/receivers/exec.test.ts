import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { inspect } from "node:util";
import { expect, onTestFinished, test } from "vitest";
import { systemClock } from "../../../src/runtime/system-clock.ts";
import type { CredentialReceiver } from "../../../src/worker-agent/ports/credential-receiver.ts";
import { execFactory } from "../../../src/worker-agent/receivers/exec/index.ts";
import { eventually } from "../../support/eventually.ts";
import { ManualClock } from "../../support/manual-clock.ts";
import {
  awsServing,
  type ReceiverBench,
  receiverBench,
  secretsOf,
} from "../support/receiver-bench.ts";

async function started(
  bench: ReceiverBench,
  script: string,
  options: Readonly<Record<string, unknown>> = {},
): Promise<CredentialReceiver> {
  const raw = { command: ["sh", "-c", script, "hook"], cwd: bench.dir, ...options };
  const receiver = execFactory.create(execFactory.options.parse(raw), bench.services);
  await receiver.start();
  onTestFinished(() => receiver.stop());
  return receiver;
}

/** Whether a process runs; one that has ended and waits to be collected does not. */
function runs(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return stat.slice(stat.lastIndexOf(")") + 2, stat.lastIndexOf(")") + 3) !== "Z";
  } catch {
    return false;
  }
}
const pidIn = (path: string): number => Number(readFileSync(path, "utf8"));

test("the command gets the credential on standard input, and the facts in its environment", async () => {
  const clock = new ManualClock();
  const bench = receiverBench(clock);
  const receiver = await started(bench, "cat > in; env > env", { env: { EXTRA: "yes" } });
  await receiver.apply(awsServing(clock, 4));
  const document: unknown = JSON.parse(readFileSync(join(bench.dir, "in"), "utf8"));
  expect(document).toMatchObject({
    generation: 4,
    material: { sessionToken: "session-token-4-hush" },
  });
  const env = readFileSync(join(bench.dir, "env"), "utf8");
  for (const line of [
    "EVERGRANT_EVENT=applied",
    "EVERGRANT_TENANT=default",
    "EVERGRANT_JOB=etl",
    "EVERGRANT_AGENT=a1",
    "EVERGRANT_PROVIDER=lake",
    "EVERGRANT_KIND=aws-session",
    "EVERGRANT_GENERATION=4",
    "EVERGRANT_EXPIRES_AT=2026-01-01T01:00:00Z",
    "EXTRA=yes",
  ]) {
    expect(env.split("\n")).toContain(line);
  }
  expect(env).not.toContain("hush");
});

test("of the agent's own environment it gets the usual and what is named, no more", async () => {
  process.env["EVERGRANT_TEST_NAMED"] = "named";
  process.env["EVERGRANT_TEST_OTHER"] = "other";
  onTestFinished(() => {
    delete process.env["EVERGRANT_TEST_NAMED"];
    delete process.env["EVERGRANT_TEST_OTHER"];
  });
  const clock = new ManualClock();
  const bench = receiverBench(clock);
  const receiver = await started(bench, "env > env", { passEnv: ["EVERGRANT_TEST_NAMED"] });
  await receiver.apply(awsServing(clock, 1));
  const env = readFileSync(join(bench.dir, "env"), "utf8");
  expect(env).toContain(`PATH=${process.env["PATH"]}\n`);
  expect(env).toContain("EVERGRANT_TEST_NAMED=named\n");
  expect(env).not.toContain("EVERGRANT_TEST_OTHER");
});

test("on request it gets a private file in place of standard input, which is gone afterwards", async () => {
  const clock = new ManualClock();
  const bench = receiverBench(clock);
  const script =
    'cat > in; stat -c %a "$EVERGRANT_CREDENTIAL_FILE" > mode; cp "$EVERGRANT_CREDENTIAL_FILE" got';
  const receiver = await started(bench, script, { input: "file" });
  await receiver.apply(awsServing(clock, 1));
  expect(readFileSync(join(bench.dir, "mode"), "utf8").trim()).toBe("600");
  expect(readFileSync(join(bench.dir, "got"), "utf8")).toContain("session-token-1-hush");
  expect(readFileSync(join(bench.dir, "in"), "utf8")).toBe("");
  expect(readdirSync(bench.dir).sort()).toEqual(["got", "in", "mode"]);
});

test("a command that reads none of a large input is no failure", async () => {
  const clock = new ManualClock();
  const receiver = await started(receiverBench(clock), "exec <&-; exit 0");
  await receiver.apply(awsServing(clock, 1));
});

test.each([
  ["exit 3", {}, "ended with exit code 3"],
  ["kill -KILL $$", {}, "was ended by SIGKILL"],
  ["", { command: ["no-such-command-here"] }, "cannot be started (ENOENT)"],
  ["", { cwd: "/nonexistent" }, "cannot be started (ENOENT)"],
])("a command that does %j %j fails the apply: %s", async (script, options, words) => {
  const clock = new ManualClock();
  const receiver = await started(receiverBench(clock), `cat >&2; ${script}`, options);
  const failed: unknown = await receiver
    .apply(awsServing(clock, 1))
    .catch((error: unknown) => error);
  expect(failed).toMatchObject({
    code: "RECEIVER_FAILED",
    message: expect.stringContaining(words),
  });
  for (const secret of secretsOf(1)) expect(inspect(failed, { depth: 9 })).not.toContain(secret);
});

test("at the limit the command is killed with all that it started, also what refuses to end", async () => {
  const clock = new ManualClock();
  const bench = receiverBench(clock);
  const script = `trap '' TERM; sh -c 'trap "" TERM; echo $$ > inner; while :; do sleep 0.05; done' & echo $$ > outer; wait; while :; do sleep 0.05; done`;
  const receiver = await started(bench, script);
  const applied = receiver.apply(awsServing(clock, 1));
  const inner = join(bench.dir, "inner");
  await eventually(() => existsSync(inner) && pidIn(inner) > 0);
  expect(clock.pending().map(({ delay }) => delay)).toEqual([30_000]);
  clock.advance(30_000);
  clock.advance(2000); // SIGTERM was ignored
  await expect(applied).rejects.toMatchObject({
    code: "RECEIVER_FAILED",
    message: expect.stringContaining("took longer than 30000 ms"),
  });
  await eventually(() => !runs(pidIn(inner)) && !runs(pidIn(join(bench.dir, "outer"))));
  expect(clock.pending()).toEqual([]);
});

test("commands run one at a time, and those that a newer credential overtook are left out", async () => {
  const bench = receiverBench(systemClock);
  const script = `echo "$EVERGRANT_GENERATION start" >> log; sleep 0.05; echo "$EVERGRANT_GENERATION end" >> log`;
  const receiver = await started(bench, script);
  const first = receiver.apply(awsServing(systemClock, 1));
  await eventually(() => existsSync(join(bench.dir, "log")));
  await Promise.all([first, ...[2, 3, 4].map((n) => receiver.apply(awsServing(systemClock, n)))]);
  expect(readFileSync(join(bench.dir, "log"), "utf8")).toBe("1 start\n1 end\n4 start\n4 end\n");
});

test("a stop ends the command that runs, and its apply fails", async () => {
  const bench = receiverBench(systemClock);
  const receiver = await started(bench, "echo $$ > pid; exec sleep 60");
  const applied = receiver.apply(awsServing(systemClock, 1));
  const refused = expect(applied).rejects.toMatchObject({
    message: expect.stringContaining("was ended because the agent stops"),
  });
  const pid = join(bench.dir, "pid");
  await eventually(() => existsSync(pid) && pidIn(pid) > 0);
  await receiver.stop();
  await refused;
  expect(runs(pidIn(pid))).toBe(false);
});

test.each([
  [{ command: [] }, "command"],
  [{ command: "sh -c x" }, "command"],
  [{ command: ["x"], timeoutSec: 0 }, "timeoutSec"],
  [{ command: ["x"], env: { "A=B": "x" } }, "env.A=B"],
])("options %j are refused", (options, path) => {
  const issues = execFactory.options.safeParse(options).error?.issues ?? [];
  expect(issues.map((issue) => issue.path.join("."))).toEqual([path]);
});
