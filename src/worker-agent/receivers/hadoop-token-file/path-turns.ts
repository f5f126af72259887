/**
 * One writer at a time for one path in this process: receivers of two providers may share a token
 * file, and each reads, merges and writes it. Other processes are not held off; the receiver reads
 * back what it wrote for that.
 */
const tails = new Map<string, Promise<unknown>>();

/** Runs `work` after all earlier work on the same path, whether that succeeded or not. */
export async function inTurn<T>(path: string, work: () => Promise<T>): Promise<T> {
  const before = tails.get(path) ?? Promise.resolve();
  const mine = before.then(work, work);
  const settled = mine.catch(() => undefined);
  tails.set(path, settled);
  try {
    return await mine;
  } finally {
    if (tails.get(path) === settled) tails.delete(path);
  }
}
