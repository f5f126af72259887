/** SIGINT and SIGTERM: the first asks, the second makes. */
import { between, durationMs, type MonoMs } from "../protocol/time.ts";
import type { CliIo } from "./io.ts";

const STOP_SIGNALS = ["SIGINT", "SIGTERM"] as const;
export type StopSignal = (typeof STOP_SIGNALS)[number];

/** The shell's exit code of a process that a signal ended. */
export const exitCodeOfSignal = (signal: StopSignal): number => (signal === "SIGINT" ? 130 : 143);

/** One Ctrl-C may arrive twice: from the terminal, and forwarded by whoever started this process. */
const SAME_KEYSTROKE = durationMs(500);

/** Calls `first` at the first stop signal and `again` at each later one. Returns what takes it back. */
export function onStop(
  { signals, clock }: Pick<CliIo, "signals" | "clock">,
  first: (signal: StopSignal) => void,
  again: (signal: StopSignal) => void,
): () => void {
  let asked: MonoMs | undefined;
  const listeners = STOP_SIGNALS.map((name) => {
    const listener = (): void => {
      const now = clock.now().mono;
      if (asked === undefined) {
        asked = now;
        first(name);
      } else if (between(asked, now) >= SAME_KEYSTROKE) again(name);
    };
    signals.on(name, listener);
    return { name, listener };
  });
  return () => {
    for (const { name, listener } of listeners) signals.removeListener(name, listener);
  };
}
