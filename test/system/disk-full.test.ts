/**
 * S15: an agent whose disk is full. Its file receiver and its state folder live on a tiny tmpfs, which
 * only root can mount: anywhere else this fails, and says so.
 */
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { eventually } from "../support/eventually.ts";
import { startNats, startRedis, type TestServer } from "../support/servers.ts";
import { startProcess } from "./support/process.ts";
import { askForRotation, published, says } from "./support/scene.ts";
import { AGENT_TIMINGS, startRig } from "./support/system-rig.ts";

const MAIN = fileURLToPath(new URL("../../src/cli/main.ts", import.meta.url));
const run = promisify(execFile);

let nats: TestServer;
let redis: TestServer;

beforeAll(async () => {
  [nats, redis] = await Promise.all([startNats(), startRedis()]);
});

/** A disk of 64 KiB. */
async function tinyDisk(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), "evergrant-disk-"));
  try {
    await run("mount", ["-t", "tmpfs", "-o", "size=64k,mode=0700", "tmpfs", dir]);
  } catch (cause) {
    await rm(dir, { recursive: true });
    throw new Error("S15 needs root, or CAP_SYS_ADMIN, to mount a tmpfs", { cause });
  }
  onTestFinished(async () => {
    await run("umount", ["-l", dir]);
    await rm(dir, { recursive: true, force: true });
  });
  return dir;
}

describe("S15: the disk of an agent is full", () => {
  it("S15.1 the old credential stays whole and served, the agent is named as failing, and it mends itself", async () => {
    const rig = await startRig({ nats, redis });
    const holder = await rig.coordinator("a");
    await holder.until(published(1));
    const disk = await tinyDisk();
    const target = join(disk, "credentials.json");
    await mkdir(join(disk, "state"));
    const config = join(rig.dir, "agent.yaml");
    await writeFile(
      config,
      JSON.stringify({
        name: "full",
        stateDir: join(disk, "state"),
        receivers: [{ kind: "file", provider: "lake", path: target }],
        timings: AGENT_TIMINGS,
      }),
    );
    const agent = startProcess({
      name: "agent",
      args: [MAIN, "agent", "--join", await rig.joinFile(), "--config", config, "--json"],
    });
    onTestFinished(() => agent.kill());
    await agent.until((line) => line["event"] === "ready");
    const first = await readFile(target, "utf8");
    const keyOf = (text: string): string => JSON.stringify(JSON.parse(text));

    const ballast = join(disk, "ballast");
    await writeFile(ballast, Buffer.alloc(1024 * 1024)).catch(() => undefined); // as much as there is room
    await expect(writeFile(join(disk, "more"), Buffer.alloc(8192))).rejects.toMatchObject({
      code: "ENOSPC",
    });
    await askForRotation(rig);
    await holder.until(published(2));
    const operator = await rig.operator();
    await eventually(async () => {
      const [status] = await operator.agents();
      return Object.keys(status?.failing ?? {}).length > 0;
    });
    const [during] = await operator.agents();
    expect(during?.agent).toBe("full");
    expect(Object.keys(during?.failing ?? {})).toEqual(["file/lake"]);
    // Not torn, not emptied: what a consumer reads is the old credential, which lives on.
    expect(keyOf(await readFile(target, "utf8"))).toBe(keyOf(first));
    expect((await operator.status()).rotations.at(-1)).toMatchObject({
      generation: 2,
      applied: 0,
      missing: ["full"],
    });

    await rm(ballast);
    await rm(join(disk, "more"), { force: true });
    await agent.until((line) => says("applied")(line) && line["generation"] === 2);
    expect(keyOf(await readFile(target, "utf8"))).not.toBe(keyOf(first));
    await eventually(async () => (await operator.status()).rotations.at(-1)?.state === "done");
    const [after] = await operator.agents();
    expect(after?.failing).toEqual({});
    expect(agent.isAlive()).toBe(true);
    expect(rig.sts.count()).toBe(2);
  });
});
