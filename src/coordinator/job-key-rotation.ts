/**
 * Rotation of the job key file, in two steps with a restart of the job's coordinators after each
 * (docs/protocol.md, "Rotation of the keys"): first every coordinator and agent learns the new set,
 * then it becomes the one that seals and signs. A standby that did not know it could open nothing.
 */
import { EvergrantError } from "../protocol/errors.ts";
import { createJobKeySet, type JobKeyFile, type JobKeySet } from "../protocol/keys.ts";
import type { JobId } from "../protocol/names.ts";
import { type EpochMs, epochMs, type Random } from "../protocol/time.ts";
import { readJobKeys, writePrivateFile } from "./job-files.ts";

/** The current set, the one before it, and one that waits to be promoted or is older still. */
const KEPT = 3;

/**
 * Adds a new set as the second: it opens and verifies, and does not seal or sign yet. The oldest
 * above three is dropped.
 * @throws FILE_UNUSABLE, also when a set waits to be promoted already
 */
export async function rotateJobKeyFile(
  path: string,
  id: JobId,
  now: EpochMs,
  random: Random,
): Promise<void> {
  const file = (await readJobKeys(path, id)).reveal();
  const [first, ...older] = file.sets;
  if (first === undefined) throw new RangeError("a job key file has at least one set");
  if (newestOf(file) !== first) {
    throw new EvergrantError("FILE_UNUSABLE", `${path} has a new key set that is not promoted yet`);
  }
  // A set's age decides what is new: the clock that made the last one may have been ahead.
  const made = epochMs(Math.max(now, first.createdAtMs + 1));
  const sets = [first, await createJobKeySet(made, random), ...older].slice(0, KEPT);
  await write(path, { ...file, sets });
}

/**
 * Makes the newest set the first. Before that, all coordinators must have been restarted.
 * @throws FILE_UNUSABLE, also when the newest is the first already
 */
export async function promoteJobKeyFile(path: string, id: JobId): Promise<void> {
  const file = (await readJobKeys(path, id)).reveal();
  const newest = newestOf(file);
  if (newest === file.sets[0] || newest === undefined) {
    throw new EvergrantError("FILE_UNUSABLE", `${path} has no new key set to promote`);
  }
  await write(path, { ...file, sets: [newest, ...file.sets.filter((set) => set !== newest)] });
}

const newestOf = ({ sets }: JobKeyFile): JobKeySet | undefined =>
  sets.toSorted((a, b) => b.createdAtMs - a.createdAtMs)[0];

const write = (path: string, file: JobKeyFile): Promise<void> =>
  writePrivateFile(path, `${JSON.stringify(file, null, 2)}\n`);
