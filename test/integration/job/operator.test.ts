/** What an operator commands of a real job: waits that name the missing, cooldowns, recorded commands. */
import { join } from "node:path";
import { connect, type Msg } from "@nats-io/transport-node";
import { beforeAll, describe, expect, it } from "vitest";
import { runCli } from "../../../src/cli/program.ts";
import { readJobKeys } from "../../../src/coordinator/job-files.ts";
import { connectOperator } from "../../../src/operator/operator-client.ts";
import { readOperatorFile } from "../../../src/operator/operator-file.ts";
import { openAnswer, type RotationStatus, sealCommand } from "../../../src/protocol/control.ts";
import {
  agentMacKey,
  createSigningKey,
  currentSet,
  type JobPublicKeys,
} from "../../../src/protocol/keys.ts";
import { encodeReport } from "../../../src/protocol/report.ts";
import { inboxPrefix, subject } from "../../../src/protocol/subjects.ts";
import { seconds } from "../../../src/protocol/time.ts";
import { systemClock, systemRandom } from "../../../src/runtime/system-clock.ts";
import { eventually } from "../../support/eventually.ts";
import { FAST, generationAt, startJobRig } from "../../support/job-rig.ts";
import { startNats, startRedis, type TestServer } from "../../support/servers.ts";

let nats: TestServer;
let redis: TestServer;

beforeAll(async () => {
  [nats, redis] = await Promise.all([startNats(), startRedis()]);
});

async function startedJob(job: string, yaml = FAST) {
  const rig = await startJobRig({ nats, redis, job, lifetimeMs: 600_000, yaml });
  const coordinator = await rig.coordinator();
  await coordinator.ready();
  const operator = await connectOperator(coordinator.operatorFile);
  rig.atEnd(() => operator.close());
  return { rig, coordinator, operator };
}

/** `evergrant ARGS` with this operator's file. */
async function evergrant(operatorFile: string, ...args: string[]) {
  let [stdout, stderr] = ["", ""];
  const code = await runCli([...args, "--operator", operatorFile], {
    stdout: (text) => {
      stdout += text;
    },
    stderr: (text) => {
      stderr += text;
    },
    env: {},
    workingDir: "/",
    terminal: false,
    clock: systemClock,
    random: systemRandom,
    signals: process,
  });
  return { code, stdout, stderr };
}

describe("a forced rotation", () => {
  it("does not wait for an agent that was stopped: it is neither live nor lost", async () => {
    const { rig, coordinator } = await startedJob("stopped");
    const [stays, goes] = [
      await rig.sidecar({ config: { name: "stays" } }),
      await rig.sidecar({ config: { name: "goes" } }),
    ];
    await Promise.all([stays.ready(10_000), goes.ready(10_000)]);
    await goes.close();
    await eventually(() => coordinator.status().agents.live === 1);
    // Lost ones are counted for an hour.
    expect(coordinator.status().agents.lost).toBe(0);
    const { code, stdout } = await evergrant(
      coordinator.operatorFile,
      ...["rotate", "--reason", "drill", "--wait", "20s", "--json"],
    );
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ state: "done", applied: 1, missing: [] });
  });

  it("that waits ends with 0 once every agent applied it, and with 3 and the name of one that hangs (I7)", async () => {
    const { rig, coordinator } = await startedJob("hanging");
    const quick = await rig.sidecar({ config: { name: "quick" } });
    await quick.ready(10_000);
    const done = await evergrant(
      coordinator.operatorFile,
      "rotate",
      "--reason",
      "drill",
      "--wait",
      "20s",
      "--json",
    );
    expect(done.code).toBe(0);
    expect(JSON.parse(done.stdout)).toMatchObject({ state: "done", applied: 1, missing: [] });
    // A receiver that never comes to an end: the agent lives and beats, and has not applied.
    const hung = await rig.sidecar({
      config: {
        name: "hung",
        receivers: [{ kind: "exec", provider: "lake", command: ["sleep", "600"], timeoutSec: 600 }],
      },
    });
    await eventually(() => coordinator.status().agents.live === 2);
    const missing = await evergrant(
      coordinator.operatorFile,
      "rotate",
      "--reason",
      "drill",
      "--wait",
      "6s",
      "--json",
    );
    expect(missing.code).toBe(3);
    expect(JSON.parse(missing.stdout)).toMatchObject({ applied: 1, missing: ["hung"] });
    const table = await evergrant(coordinator.operatorFile, "rotate", "--reason", "x", "--wait=1s");
    expect(table.code).toBe(3);
    expect(table.stdout).toContain("hung");
    await hung.close();
  });

  it("during the cooldown is deferred, and ends with a newer generation, never with the old one", async () => {
    const { rig, coordinator, operator } = await startedJob(
      "cooldown",
      FAST.replace("cooldownFirstSec: 1,", "cooldownFirstSec: 5,"),
    );
    const agent = await rig.agent();
    await generationAt(agent, 1);
    const began = systemClock.now().mono;
    const first = await operator.rotate({ text: "one", wait: seconds(20) });
    const seen: RotationStatus[] = [];
    const [second, third] = await Promise.all([
      operator.rotate({ text: "two", wait: seconds(20), onProgress: (r) => seen.push(r) }),
      operator.rotate({ text: "three", wait: seconds(20) }),
    ]);
    expect(first.state).toBe("done");
    expect(second).toMatchObject({ state: "done", generation: first.generation + 1 });
    // Requests coalesce: two that came in one cooldown are served by one call.
    expect(third.generation).toBe(second.generation);
    expect(rig.issued()).toBe(3);
    // The cooldown runs from the first one's call on, which came after it was asked for.
    expect(systemClock.now().mono - began).toBeGreaterThan(5000);
    // While it was deferred, it was never answered with what was there.
    for (const { state, generation } of seen) {
      if (generation === first.generation) expect(state).not.toBe("done");
    }
    expect((await generationAt(agent, second.generation)).generation).toBe(second.generation);
    expect(coordinator.status().rotations.at(-1)?.reason).toBe("forced");
  });

  it("that is denied ends with 1 and the issuer's reason, and what is held is served on", async () => {
    const { rig, coordinator } = await startedJob("denied");
    const agent = await rig.agent();
    const held = await generationAt(agent, 1);
    rig.sts.knobs.deny = true;
    const args = ["rotate", "--reason", "drill", "--wait", "20s"] as const;
    const { code, stdout } = await evergrant(coordinator.operatorFile, ...args);
    expect(code).toBe(1);
    expect(stdout).toContain("ISSUER_DENIED");
    expect(agent.current("lake")).toBe(held);
  });
});

describe("a command", () => {
  it("that was recorded and is played again is refused; so is a stranger's, and neither asks the issuer", async () => {
    const { rig, coordinator, operator } = await startedJob("recorded");
    const id = { tenant: "default", job: "recorded" };
    const rogue = await connect({
      servers: [nats.url],
      inboxPrefix: inboxPrefix(id, "operator", "rogue"),
    });
    rig.atEnd(() => rogue.close());
    const recorded: Uint8Array[] = [];
    const tap = rogue.subscribe(subject.control(id), {
      callback: (_error: Error | null, { data }: Msg) => void recorded.push(new Uint8Array(data)),
    });
    await rogue.flush();
    await operator.rotate({ text: "once" });
    await eventually(() => rig.issued() === 2);
    tap.unsubscribe();
    await rogue.flush();
    const file = readOperatorFile({ path: coordinator.operatorFile, byDefault: false });
    const keys: JobPublicKeys = file.jobKeys;
    const [rotate] = recorded;
    if (rotate === undefined) throw new Error("nothing was recorded");
    const reply = await rogue.request(subject.control(id), rotate, { timeout: 5000 });
    expect((await openAnswer(reply.data, keys.signing)).answer).toMatchObject({
      kind: "refused",
      code: "MESSAGE_REPLAYED",
    });

    const { wall } = systemClock.now();
    const envelope = {
      v: 1,
      ...id,
      operator: "operator",
      nonce: "a-nonce-of-somebody-else",
      issuedAtMs: Math.floor(wall),
      notAfterMs: Math.floor(wall) + 60_000,
      command: { kind: "end" },
    } as const;
    const forged = await sealCommand(envelope, await createSigningKey(systemRandom));
    await expect(rogue.request(subject.control(id), forged, { timeout: 1000 })).rejects.toThrow();
    const status = await operator.status();
    expect(status.refused).toMatchObject({ MESSAGE_REPLAYED: 1, MESSAGE_FORGED: 1 });
    expect(status.phase).toBe("leading");
    expect(rig.issued()).toBe(2);
  });

  it("to a job without a coordinator ends with 4, and says so", async () => {
    const { coordinator } = await startedJob("alone");
    await coordinator.handOver();
    const { code, stderr } = await evergrant(coordinator.operatorFile, "status");
    expect(code).toBe(4);
    expect(stderr).toContain("NO_COORDINATOR");
  });
});

describe("a job of many agents", () => {
  it("is listed whole, in as many messages as it takes", async () => {
    // Each of them beats once only: none may be lost before all are heard.
    const { rig, coordinator, operator } = await startedJob(
      "many",
      FAST.replace("lostSec: 3", "lostSec: 60"),
    );
    const keys = (
      await readJobKeys(join(coordinator.runDir, "job-key.json"), operator.id)
    ).reveal();
    const nc = await connect({ servers: nats.url });
    rig.atEnd(() => nc.close());
    const { term } = coordinator.status();
    for (let i = 0; i < 2500; i += 1) {
      const who = { agent: `executor-${i}`, instance: `instance-${i}` };
      const to = subject.agent(operator.id, "beat", who.agent);
      const held = { term, generation: 1, runwayMs: {}, failing: {}, refused: {} };
      const beat = { v: 1, type: "beat", ...who, sequence: 1, ...held } as const;
      const key = agentMacKey(currentSet(keys).macRoot, operator.id, who);
      nc.publish(to, encodeReport(beat, to, key));
    }
    await eventually(() => coordinator.status().agents.live === 2500);
    const listed = await operator.agents();
    expect(new Set(listed.map(({ agent }) => agent)).size).toBe(2500);
    expect(listed).toHaveLength(2500);
    const { code, stdout } = await evergrant(coordinator.operatorFile, "agents", "--json");
    expect(code).toBe(0);
    expect(stdout).toContain("executor-2499");
  });
});
