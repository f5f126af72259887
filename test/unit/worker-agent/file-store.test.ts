/** The state folder of an agent on a real disk: what survives a crash, and what it refuses to read. */
import { spawnSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { createSigningKey } from "../../../src/protocol/keys.ts";
import type { Outcome } from "../../../src/protocol/outcome.ts";
import { Secret } from "../../../src/protocol/secret.ts";
import { systemRandom as random } from "../../../src/runtime/system-clock.ts";
import { fileStore } from "../../../src/worker-agent/adapters/file-store/file-store.ts";
import type { AgentRecord } from "../../../src/worker-agent/ports/agent-store.ts";

let home: string;
let dir: string;
let record: AgentRecord;
beforeEach(async () => {
  home = mkdtempSync(join(tmpdir(), "evergrant-store-"));
  dir = join(home, "agent");
  record = {
    tenant: "acme",
    job: "etl",
    agent: "executor-1",
    key: new Secret(await createSigningKey(random)),
    ticket: "a.b.c",
    highest: { term: 3, generation: 7 },
  };
});
afterEach(() => rmSync(home, { recursive: true, force: true }));

const persist = (kept: AgentRecord): Promise<Outcome<void>> =>
  new Promise((done) => void fileStore(dir, random).persist(kept, done));
const restore = (): Promise<Outcome<AgentRecord | undefined>> =>
  new Promise((done) => void fileStore(dir, random).restore(done));

test("comes back as it was kept, in a folder and a file of its owner's only", async () => {
  expect(await restore()).toEqual({ ok: true, value: undefined });
  expect(await persist(record)).toMatchObject({ ok: true });
  expect(statSync(dir).mode & 0o777).toBe(0o700);
  expect(statSync(join(dir, "agent.json")).mode & 0o777).toBe(0o600);
  const back = await restore();
  if (!back.ok || back.value === undefined) throw new Error("nothing was kept");
  const { key, ...rest } = back.value;
  const { key: before, ...restBefore } = record;
  expect(rest).toEqual(restBefore);
  expect(key.reveal()).toEqual(before.reveal());
});

test("what a process left that was killed while it wrote is neither read nor kept", async () => {
  await persist(record);
  const { pid } = spawnSync("true");
  const leftOver = join(dir, `.agent.json.evergrant-${pid}-00ff-1`);
  writeFileSync(leftOver, readFileSync(join(dir, "agent.json")).subarray(0, 40));
  expect(await restore()).toMatchObject({ ok: true, value: { ticket: "a.b.c" } });
  await persist({ ...record, ticket: "d.e.f" });
  expect(existsSync(leftOver)).toBe(false);
  expect(readdirSync(dir)).toEqual(["agent.json"]);
  expect(await restore()).toMatchObject({ ok: true, value: { ticket: "d.e.f" } });
});

test("what can't be written fails by code, names the file, and leaves nothing beside it", async () => {
  // A folder in the record's place refuses the rename for every user, also for root.
  mkdirSync(join(dir, "agent.json"), { recursive: true });
  const outcome = await persist(record);
  if (outcome.ok) throw new Error("it was written");
  expect(outcome.error.code).toBe("FILE_UNUSABLE");
  expect(outcome.error.message).toContain(join(dir, "agent.json"));
  expect(readdirSync(dir)).toEqual(["agent.json"]);
});

test.each([
  ["{", "is not JSON"],
  ['{"version":2}', "is no state of an agent"],
])("%s is refused, with the way out, and is not quoted", async (text, why) => {
  await persist(record);
  writeFileSync(join(dir, "agent.json"), text);
  const outcome = await restore();
  if (outcome.ok) throw new Error("it was read");
  expect(outcome.error.code).toBe("FILE_UNUSABLE");
  expect(outcome.error.message).toContain(`${why}; remove it to start afresh`);
});
