/**
 * The state folder of one agent: `agent.json`, 0600, replaced as a whole (temp, fsync, rename, fsync
 * of the folder), so that a crash leaves the old or the new. It holds the agent's own key and ticket,
 * and never a credential.
 */
import { mkdir, open, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import * as z from "zod";
import { EvergrantError } from "../../../protocol/errors.ts";
import { signingKeySchema } from "../../../protocol/keys.ts";
import { nameSchema } from "../../../protocol/names.ts";
import { settle, success } from "../../../protocol/outcome.ts";
import { Secret } from "../../../protocol/secret.ts";
import type { AgentRecord, AgentStore } from "../../ports/agent-store.ts";

const recordSchema = z.object({
  version: z.literal(1),
  tenant: nameSchema,
  job: nameSchema,
  agent: nameSchema,
  key: signingKeySchema,
  ticket: z.string().optional(),
  highest: z.object({ term: z.int().min(0), generation: z.int().min(0) }),
});

const FILE = "agent.json";

/** @param dir made with mode 0700 when it is not there. */
export function fileStore(dir: string): AgentStore {
  const path = join(dir, FILE);
  return {
    restore: (done) => settle(() => read(path), done, "FILE_UNUSABLE", `reading ${path}`),
    persist: (record, done) =>
      settle(() => write(dir, path, record), done, "FILE_UNUSABLE", `writing ${path}`),
  };
}

/** For agents without a state folder: nothing outlives the process. */
export const memoryStore: AgentStore = {
  restore: (done) => done(success(undefined)),
  persist: (_record, done) => done(success(undefined)),
};

async function read(path: string): Promise<AgentRecord | undefined> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw thrown;
  }
  const unusable = (why: string) =>
    new EvergrantError("FILE_UNUSABLE", `${path} ${why}; remove it to start afresh`);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw unusable("is not JSON");
  }
  const parsed = recordSchema.safeParse(value);
  if (!parsed.success) throw unusable("is no state of an agent");
  const { key, ticket, tenant, job, agent, highest } = parsed.data;
  return { tenant, job, agent, key: new Secret(key), ticket, highest };
}

async function write(dir: string, path: string, record: AgentRecord): Promise<void> {
  await mkdir(dir, { recursive: true, mode: 0o700 });
  const { key, ...rest } = record;
  const text = `${JSON.stringify({ version: 1, ...rest, key: key.reveal() }, null, 2)}\n`;
  const temp = `${path}.${process.pid}.tmp`;
  try {
    const file = await open(temp, "w", 0o600);
    try {
      await file.writeFile(text);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temp, path);
  } catch (thrown) {
    await rm(temp, { force: true }).catch(() => undefined);
    throw thrown;
  }
  // The rename itself is on disk only once the folder is.
  const folder = await open(dir, "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
