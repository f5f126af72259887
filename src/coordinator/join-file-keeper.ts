/** Keeps the join file good: writes it at the start and again at half of its token's life. */
import type { BrokerAccess } from "../protocol/join.ts";
import type { JobKeys } from "../protocol/keys.ts";
import {
  type CancelTimer,
  type Clock,
  type DurationMs,
  durationMs,
  type Random,
  seconds,
} from "../protocol/time.ts";
import type { Log } from "../runtime/log.ts";
import { createJoinFile, writePrivateFile } from "./job-files.ts";

export interface JoinFileKeeperOptions {
  readonly path: string;
  readonly keys: JobKeys;
  readonly nats: BrokerAccess;
  readonly ttl: DurationMs;
  readonly maxAgents: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

/** Resolves once the first file is written. @throws FILE_UNUSABLE. @returns what stops the keeping */
export async function keepJoinFile(options: JoinFileKeeperOptions): Promise<CancelTimer> {
  const { clock, path, ttl } = options;
  let cancel: CancelTimer = () => undefined;
  let stopped = false;
  const write = async (): Promise<void> => {
    const file = await createJoinFile(options.keys, options, clock.now().wall, options.random);
    await writePrivateFile(path, `${JSON.stringify(file, null, 2)}\n`);
  };
  const arm = (wait: DurationMs): void => {
    if (!stopped) cancel = clock.timer(wait, rewrite, true);
  };
  const rewrite = (): void => {
    write().then(
      () => arm(durationMs(ttl / 2)),
      (error: unknown) => {
        options.log("error", "the join file can't be rewritten", { path, err: error });
        arm(seconds(Math.min(60, ttl / 20_000)));
      },
    );
  };
  await write();
  arm(durationMs(ttl / 2));
  return () => {
    stopped = true;
    cancel();
  };
}
