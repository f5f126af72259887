/**
 * The state folder of one agent: `agent.json`, 0600, replaced as a whole, so that a crash leaves the
 * old or the new. It holds the agent's own key and ticket, and never a credential.
 */
import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import * as z from "zod";
import { utf8 } from "../../../protocol/encoding.ts";
import { EvergrantError } from "../../../protocol/errors.ts";
import { signingKeySchema } from "../../../protocol/keys.ts";
import { nameSchema } from "../../../protocol/names.ts";
import { settle, success } from "../../../protocol/outcome.ts";
import { Secret } from "../../../protocol/secret.ts";
import type { Random } from "../../../protocol/time.ts";
import { writeAtomically } from "../../../runtime/atomic-file.ts";
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

/**
 * @param dir made with mode 0700 when it is not there. What a process that died while it was writing
 * left there is removed with the next write.
 */
export function fileStore(dir: string, random: Random): AgentStore {
  const path = join(dir, FILE);
  return {
    restore: (done) => settle(() => read(path), done, "FILE_UNUSABLE", `reading ${path}`),
    persist: (record, done) =>
      settle(() => write(dir, path, record, random), done, "FILE_UNUSABLE", `writing ${path}`),
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

async function write(
  dir: string,
  path: string,
  { key, ...rest }: AgentRecord,
  random: Random,
): Promise<void> {
  await mkdir(dir, { recursive: true, mode: 0o700 });
  const text = `${JSON.stringify({ version: 1, ...rest, key: key.reveal() }, null, 2)}\n`;
  await writeAtomically({
    path,
    content: utf8(text),
    mode: 0o600,
    random,
    code: "FILE_UNUSABLE",
  });
}
