/**
 * The files of a job: its keys, what executors are handed, what operators are handed. All are 0600
 * and written whole or not at all.
 */
import { mkdir, readFile } from "node:fs/promises";
import { dirname } from "node:path";
import type * as z from "zod";
import { toBase64Url, utf8 } from "../protocol/encoding.ts";
import { EvergrantError } from "../protocol/errors.ts";
import {
  type BrokerAccess,
  type JoinFile,
  type OperatorFile,
  operatorFileSchema,
  signJoinToken,
} from "../protocol/join.ts";
import {
  boxed,
  createJobKeySet,
  createSigningKey,
  currentSet,
  type JobKeys,
  jobKeyFileSchema,
  publicKeysOf,
} from "../protocol/keys.ts";
import { type JobId, sameJob } from "../protocol/names.ts";
import { type DurationMs, type EpochMs, later, type Random, toRfc3339 } from "../protocol/time.ts";
import { writeAtomically } from "../runtime/atomic-file.ts";
import { systemRandom } from "../runtime/system-clock.ts";

/**
 * Reads a JSON file and checks it. The error names paths at fault, never what stands there.
 * @throws FILE_UNUSABLE, also when it is missing; `details.missing` is then true
 */
export async function readJsonFile<T>(
  path: string,
  schema: z.ZodType<T>,
  what: string,
): Promise<T> {
  let content: string;
  try {
    content = await readFile(path, "utf8");
  } catch (cause) {
    const missing = (cause as NodeJS.ErrnoException).code === "ENOENT";
    throw new EvergrantError(
      "FILE_UNUSABLE",
      `the ${what} ${path} ${missing ? "does not exist" : "can't be read"}`,
      { cause, details: { missing } },
    );
  }
  let value: unknown;
  try {
    value = JSON.parse(content);
  } catch {
    throw new EvergrantError("FILE_UNUSABLE", `the ${what} ${path} is not JSON`);
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const paths = parsed.error.issues.map((issue) => issue.path.join(".") || "(root)");
  throw new EvergrantError(
    "FILE_UNUSABLE",
    `the ${what} ${path} is malformed at ${paths.join(", ")}`,
  );
}

/**
 * Writes a private file (0600) whole or not at all, in a folder that is made (0700) when it is not
 * there. @throws FILE_UNUSABLE; with `exclusive` also when it is there: `details.exists` is then true
 */
export async function writePrivateFile(
  path: string,
  content: string,
  { exclusive = false } = {},
): Promise<void> {
  const code = "FILE_UNUSABLE";
  try {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  } catch (cause) {
    throw new EvergrantError(code, `the folder of ${path} can't be made`, { cause });
  }
  const options = { mode: 0o600, random: systemRandom, exclusive, code } as const;
  await writeAtomically({ path, content: utf8(content), ...options });
}

/** Makes a job key file. @throws FILE_UNUSABLE, also when there is one: keys are never overwritten. */
export async function createJobKeyFile(
  path: string,
  id: JobId,
  now: EpochMs,
  random: Random,
): Promise<void> {
  const file = { version: 1, ...id, sets: [await createJobKeySet(now, random)] };
  await writePrivateFile(path, `${JSON.stringify(file, null, 2)}\n`, { exclusive: true });
}

/**
 * The job's keys from its file, which the first coordinator makes.
 * @throws FILE_UNUSABLE for another job's file
 */
export async function loadJobKeys(
  path: string,
  id: JobId,
  now: EpochMs,
  random: Random,
): Promise<JobKeys> {
  try {
    return await readJobKeys(path, id);
  } catch (thrown) {
    if (!(thrown instanceof EvergrantError) || thrown.details["missing"] !== true) throw thrown;
  }
  try {
    await createJobKeyFile(path, id, now, random);
  } catch (thrown) {
    // Two coordinators that start together: the file of the first one counts for both.
    if (!(thrown instanceof EvergrantError) || thrown.details["exists"] !== true) throw thrown;
  }
  return await readJobKeys(path, id);
}

/** @throws FILE_UNUSABLE when it is missing, malformed, or another job's */
export async function readJobKeys(path: string, id: JobId): Promise<JobKeys> {
  const file = await readJsonFile(path, jobKeyFileSchema, "job key file");
  if (!sameJob(file, id)) {
    throw new EvergrantError(
      "FILE_UNUSABLE",
      `the job key file ${path} is of ${file.tenant}/${file.job}, not of ${id.tenant}/${id.job}`,
    );
  }
  return boxed(file);
}

export interface JoinOptions {
  readonly nats: BrokerAccess;
  /** How long its token lets agents in. */
  readonly ttl: DurationMs;
  readonly maxAgents: number;
}

/** A join file's content, with a new token in it. */
export async function createJoinFile(
  keys: JobKeys,
  options: JoinOptions,
  now: EpochMs,
  random: Random,
): Promise<JoinFile> {
  const file = keys.reveal();
  const { tenant, job } = file;
  const notAfter = later(now, options.ttl);
  const token = {
    id: toBase64Url(random.bytes(12)),
    tenant,
    job,
    notAfterMs: Math.floor(notAfter),
    maxAgents: options.maxAgents,
  };
  return {
    version: 1,
    tenant,
    job,
    expiresAt: toRfc3339(notAfter),
    token: await signJoinToken(token, currentSet(file).signing),
    nats: options.nats,
    jobKeys: publicKeysOf(file),
  };
}

/**
 * The operator file of the run folder: its key is made once and kept, addresses and job keys are
 * brought up to date at every start.
 */
export async function loadOperatorFile(
  path: string,
  keys: JobKeys,
  nats: BrokerAccess,
  random: Random,
): Promise<OperatorFile> {
  const file = keys.reveal();
  let own: Pick<OperatorFile, "operator" | "key"> | undefined;
  try {
    own = await readJsonFile(path, operatorFileSchema, "operator file");
  } catch (thrown) {
    if (!(thrown instanceof EvergrantError) || thrown.details["missing"] !== true) throw thrown;
  }
  const content: OperatorFile = {
    version: 1,
    tenant: file.tenant,
    job: file.job,
    operator: own?.operator ?? "operator",
    nats,
    jobKeys: publicKeysOf(file),
    key: own?.key ?? (await createSigningKey(random)),
  };
  await writePrivateFile(path, `${JSON.stringify(content, null, 2)}\n`);
  return content;
}
