/** SIGINT and SIGTERM: the first asks, the second makes. */
import type { CliIo } from "./io.ts";

const STOP_SIGNALS = ["SIGINT", "SIGTERM"] as const;
export type StopSignal = (typeof STOP_SIGNALS)[number];

/** The shell's exit code of a process that a signal ended. */
export const exitCodeOfSignal = (signal: StopSignal): number => (signal === "SIGINT" ? 130 : 143);

/** Calls `first` at the first stop signal and `again` at each further one. Returns what takes it back. */
export function onStop(
  { signals }: Pick<CliIo, "signals">,
  first: (signal: StopSignal) => void,
  again: (signal: StopSignal) => void,
): () => void {
  let asked = false;
  const listeners = STOP_SIGNALS.map((name) => {
    const listener = (): void => {
      if (asked) again(name);
      else {
        asked = true;
        first(name);
      }
    };
    signals.on(name, listener);
    return { name, listener };
  });
  return () => {
    for (const { name, listener } of listeners) signals.removeListener(name, listener);
  };
}
