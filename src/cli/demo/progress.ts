/** The demo's live lines: what happens, each with the time since the start. Owns no state of the demo. */
import type { JobStatus, RotationStatus } from "../../protocol/control.ts";
import { between, type Clock, type DurationMs, durationMs } from "../../protocol/time.ts";
import { type CliIo, say } from "../io.ts";
import { howLong } from "../table.ts";
import type { ClientTotals } from "./report.ts";

export interface Progress {
  line(text: string): void;
  rotation(rotation: RotationStatus, agents: number): void;
  /** At most one line every five seconds. */
  heartbeat(status: JobStatus, agents: number, client: ClientTotals | undefined): void;
}

const HEARTBEAT: DurationMs = durationMs(5000);

export function startProgress(io: Pick<CliIo, "stdout">, clock: Clock): Progress {
  const began = clock.now().mono;
  let beaten = began;
  const line = (text: string): void => {
    const elapsed = (between(began, clock.now().mono) / 1000).toFixed(1).padStart(6);
    say(io as CliIo, `${elapsed} s  ${text}`);
  };
  return {
    line,
    rotation(rotation, agents) {
      const { generation, reason, applied, missing, publishToLastAckMs } = rotation;
      const who = missing.length === 0 ? "" : `, missing ${missing.join(", ")}`;
      line(
        `generation ${generation} (${reason}): applied by ${applied}/${agents} agents, the last after ${howLong(publishToLastAckMs)}${who}`,
      );
    },
    heartbeat(status, agents, client) {
      const now = clock.now().mono;
      if (between(beaten, now) < HEARTBEAT) return;
      beaten = now;
      const providers = status.providers.map(
        ({ provider, generation, runwayMs, nextAttemptInMs }) =>
          `${provider} generation ${generation}, ${howLong(runwayMs)} left, next in ${howLong(nextAttemptInMs)}`,
      );
      const calls =
        client === undefined
          ? "no client yet"
          : `${client.calls} SDK calls, ${client.failed} failed`;
      line(
        `${status.agents.upToDate}/${agents} agents up to date; ${providers.join("; ")}; ${calls}`,
      );
    },
  };
}
