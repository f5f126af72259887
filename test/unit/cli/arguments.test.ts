import { describe, expect, it } from "vitest";
import { collectNames, parseCount, parseDuration } from "../../../src/cli/arguments.ts";
import { exitCodeOfRotation } from "../../../src/cli/rotate.ts";
import { howLong, table } from "../../../src/cli/table.ts";
import type { RotationStatus } from "../../../src/protocol/control.ts";

describe("durations on the command line", () => {
  it.each([
    ["500ms", 500],
    ["20s", 20_000],
    ["1.5m", 90_000],
    ["2h", 7_200_000],
    ["7d", 604_800_000],
    ["60", 60_000],
  ])("%s is %i ms", (text, ms) => {
    expect(parseDuration(text)).toBe(ms);
  });

  it.each(["", "0", "0s", "-1s", "s", "1w", "1e3", "NaN", "1s 2s"])("%j is refused", (text) => {
    expect(() => parseDuration(text)).toThrow(/duration/);
  });
});

describe("counts and names on the command line", () => {
  it("are refused outside of their range", () => {
    expect(parseCount(1, 10)("10")).toBe(10);
    for (const text of ["0", "11", "-1", "1.5", "", "ten"]) {
      expect(() => parseCount(1, 10)(text)).toThrow(/from 1 to 10/);
    }
  });

  it("may be given one by one or with commas", () => {
    expect(collectNames("b,c", collectNames("a", undefined))).toEqual(["a", "b", "c"]);
    expect(() => collectNames("a,,b", undefined)).toThrow(/1 to 64/);
  });
});

describe("the exit code of rotate --wait", () => {
  const rotation = (state: RotationStatus["state"]): RotationStatus => ({
    id: "r1",
    providers: ["lake"],
    reason: "forced",
    generation: 2,
    term: 1,
    state,
    issuerCalls: 1,
    applied: 1,
    missing: [],
  });

  it("is 0 when done, 3 while agents lag, 1 when nothing was obtained", () => {
    expect(exitCodeOfRotation(rotation("done"))).toBe(0);
    expect(exitCodeOfRotation(rotation("delivering"))).toBe(3);
    expect(exitCodeOfRotation(rotation("failed"))).toBe(1);
    expect(exitCodeOfRotation(rotation("obtaining"))).toBe(1);
  });
});

describe("text for people", () => {
  it("aligns columns and leaves no blanks at line ends", () => {
    expect(
      table(
        ["A", "B"],
        [
          ["long", ""],
          ["x", "y"],
        ],
      ),
    ).toBe("A     B\nlong\nx     y\n");
  });

  it("says lengths of time in a unit that fits", () => {
    expect([12, 9500, 720_000, 12_240_000, undefined].map(howLong)).toEqual([
      "12 ms",
      "9.5 s",
      "12 min",
      "3.4 h",
      "-",
    ]);
  });
});
