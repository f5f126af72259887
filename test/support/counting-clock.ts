/** The system's clock, and how many of its timers are pending. */
import type { Clock } from "../../src/protocol/time.ts";
import { systemClock } from "../../src/runtime/system-clock.ts";

export function countingClock(): { readonly clock: Clock; pending(): number } {
  const pending = new Set<object>();
  return {
    pending: () => pending.size,
    clock: {
      now: () => systemClock.now(),
      timer(delay, fire, background) {
        const timer = {};
        pending.add(timer);
        const cancel = systemClock.timer(
          delay,
          () => {
            pending.delete(timer);
            fire();
          },
          background,
        );
        return () => {
          pending.delete(timer);
          cancel();
        };
      },
    },
  };
}
