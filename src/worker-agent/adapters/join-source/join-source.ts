/**
 * The join file, as it is now: it is rewritten before its token ends, so it is read at each use.
 * Owns reading and judging it; refuses to know what it is used for.
 */
import { readFile } from "node:fs/promises";
import { EvergrantError } from "../../../protocol/errors.ts";
import { type JoinFile, joinFileSchema } from "../../../protocol/join.ts";
import { sameJob } from "../../../protocol/names.ts";
import { between, type Clock, type DurationMs, durationMs } from "../../../protocol/time.ts";

export interface JoinSource {
  /**
   * The join file as it is now. Unchanged content is the same object as before, so that imported
   * keys are found again. @throws FILE_UNUSABLE
   */
  read(): Promise<JoinFile>;
}

/** A join file that is in memory already. @throws FILE_UNUSABLE */
export function fixedJoin(join: JoinFile): JoinSource {
  const checked = checkJoin(join, "the given join file");
  return { read: async () => checked };
}

export function joinFileAt(path: string): JoinSource {
  let last: { readonly text: string; readonly join: JoinFile } | undefined;
  return {
    async read() {
      let text: string;
      try {
        text = await readFile(path, "utf8");
      } catch (thrown) {
        const code = (thrown as NodeJS.ErrnoException).code ?? "unknown";
        const message = `the join file ${path} can't be read (${code})`;
        throw new EvergrantError("FILE_UNUSABLE", message, { details: { errno: code } });
      }
      if (last?.text === text) return last.join;
      let value: unknown;
      try {
        value = JSON.parse(text);
      } catch {
        throw new EvergrantError("FILE_UNUSABLE", `the join file ${path} is not JSON`);
      }
      const join = checkJoin(value, `the join file ${path}`);
      if (last !== undefined && !sameJob(last.join, join)) {
        const message = `the join file ${path} is now of another job, ${join.tenant}/${join.job}`;
        throw new EvergrantError("FILE_UNUSABLE", message);
      }
      // Keys that stayed the same stay the same objects: they are imported once for each object.
      const kept =
        last !== undefined && JSON.stringify(last.join.jobKeys) === JSON.stringify(join.jobKeys)
          ? { ...join, jobKeys: last.join.jobKeys }
          : join;
      last = { text, join: kept };
      return kept;
    },
  };
}

function checkJoin(value: unknown, what: string): JoinFile {
  const parsed = joinFileSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  const paths = parsed.error.issues.map((issue) => issue.path.join(".") || "(root)");
  throw new EvergrantError("FILE_UNUSABLE", `${what} is malformed at ${paths.join(", ")}`);
}

/** How often a missing join file is looked for. */
const LOOK_AGAIN = durationMs(250);

/**
 * The join file once it is there and readable: the agent may be started before its coordinator.
 * @param waiting is told once, when it is not there at first.
 * @throws START_TIMEOUT naming the last reason
 */
export async function awaitJoin(
  source: JoinSource,
  clock: Clock,
  limit: DurationMs,
  waiting: (why: EvergrantError) => void,
): Promise<JoinFile> {
  const began = clock.now().mono;
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await source.read();
    } catch (thrown) {
      const why = EvergrantError.from(thrown, "FILE_UNUSABLE", "reading the join file");
      if (between(began, clock.now().mono) + LOOK_AGAIN > limit) {
        const message = `no usable join file after ${limit / 1000} s: ${why.message}`;
        throw new EvergrantError("START_TIMEOUT", message, { cause: why });
      }
      if (attempt === 1) waiting(why);
    }
    await new Promise<void>((resolve) => void clock.timer(LOOK_AGAIN, resolve));
  }
}
