import { EventEmitter } from "node:events";
import { describe, expect, it } from "vitest";
import type { CliIo } from "../../../src/cli/io.ts";
import { onStop } from "../../../src/cli/signals.ts";
import { durationMs } from "../../../src/protocol/time.ts";
import { ManualClock } from "../../support/manual-clock.ts";

function rig() {
  const signals = new EventEmitter();
  const clock = new ManualClock();
  const seen: string[] = [];
  const release = onStop(
    { signals: signals as unknown as CliIo["signals"], clock },
    (name) => seen.push(`first ${name}`),
    (name) => seen.push(`again ${name}`),
  );
  return { signals, clock, seen, release };
}

describe("stop signals", () => {
  it("ask at first, and force when they come again", () => {
    const { signals, clock, seen } = rig();
    signals.emit("SIGTERM");
    clock.advance(durationMs(1000));
    signals.emit("SIGINT");
    expect(seen).toEqual(["first SIGTERM", "again SIGINT"]);
  });

  it("of one keystroke that arrive twice are one", () => {
    const { signals, clock, seen } = rig();
    signals.emit("SIGINT");
    clock.advance(durationMs(20));
    signals.emit("SIGINT");
    expect(seen).toEqual(["first SIGINT"]);
  });

  it("do what they always do once nobody listens", () => {
    const { signals, release } = rig();
    release();
    expect(signals.listenerCount("SIGINT") + signals.listenerCount("SIGTERM")).toBe(0);
  });
});
