import { expect, test } from "vitest";
import { Chance } from "./chance.ts";
import { type Report, simulate } from "./simulate.ts";

/**
 * Seeds that have broken something once. What each found is pinned by a test of its own beside the
 * code as well (test/unit/coordinator), since a seed means another world when the simulation grows.
 */
const FOUND: readonly (readonly [seed: number, claim: string])[] = [
  [14, "a state write of a former term, applied late, does not stand for the new term's"],
  [69, "a holder that can't take a higher term does not write the lease in a circle"],
  [60, "a watchdog that waits for the lease to cover a call comes to rest"],
  [109, "a standby that sees the lease vanish with its store lets the holder rewrite it"],
  [45, "the tombstone of a job stands though its lease was being renewed"],
  [29, "agents that take a bundle for expired by a wrong clock register and set it right"],
  [1023, "a successor waits a second after a predecessor's failure"],
  [1220, "a part that goes on failing leaves calls for the whole"],
  [2225, "a runway measured under an earlier term is no demand"],
  [4152, "taking over uses up none of the calls"],
  [4465, "an issuer that hands out what is nearly over is not asked at that pace"],
  [114352, "what the queue has raised is not put back while it waits for the bound on calls"],
  [114435, "a lease that stands at our revision in a renewed store is not ours"],
  [209009, "what agents still hold is renewed before its end, though no memory of it is left"],
  [214341, "an answer without a stamp may be as old as its call"],
  [237736, "a successor with another clock renews early, by what its predecessor's was off"],
  [247466, "who has just joined is sent it again soon, though nobody else has needed it for long"],
  [255791, "who has just joined is sent it again soon, whatever the ladder does meanwhile"],
  [309616, "an agent that was cut off too shortly to notice catches up with its next beat"],
  [413150, "nobody forges with keys that an operator has taken out of the file"],
  [438929, "who begins with lives of seconds, after a store was wiped, renews at their pace"],
  [453751, "agents' runway hastens a retry also where what is remembered has expired"],
  [120761, "a life whose answer was held up is renewed at 75 % of the whole"],
];

test.each(FOUND)("seed %i: %s", async (seed) => {
  const { violation } = await simulate(seed);
  expect(violation).toBeUndefined();
});

test.each([
  [7, "with the stand-in for sealing"],
  [150, "with real keys and ciphers, whatever these come to"],
])("the same seed gives the same world, event by event: %i, %s", async (seed) => {
  const first = await simulate(seed, true);
  const second = await simulate(seed, true);
  expect(second.trace).toEqual(first.trace);
  expect(first.trace.length).toBeGreaterThan(100);
  expect((await simulate(seed + 1, true)).trace).not.toEqual(first.trace);
});

test("where bundles are really sealed, agents refuse what is forged and fetch new keys", async () => {
  const reports: Report[] = [];
  for (let seed = 50; seed <= 400; seed += 50) reports.push(await simulate(seed, true));
  expect(reports.filter((report) => report.violation !== undefined)).toEqual([]);
  const all = reports.flatMap(({ trace }) => trace).join("\n");
  for (const code of ["MESSAGE_FORGED", "MESSAGE_TOO_LARGE", "MESSAGE_REPLAYED", "KEY_UNKNOWN"]) {
    expect(all).toContain(`news refused {"kind":"refused","code":"${code}"}`);
  }
  expect(all).toContain("the job key file has a new first key set: a new group key");
});

test("worlds do not stand still: issuers are called and faults are met", async () => {
  const reports: Report[] = [];
  for (let seed = 5000; seed < 5020; seed += 1) reports.push(await simulate(seed));
  const faults = new Set(reports.flatMap((report) => [...report.faults.keys()]));
  expect(reports.filter((report) => report.violation !== undefined)).toEqual([]);
  expect(Math.min(...reports.map((report) => report.calls))).toBeGreaterThan(0);
  expect(faults.size).toBeGreaterThan(15);
});

test("chance is uniform enough, and never one", () => {
  const chance = new Chance(3);
  const units = Array.from({ length: 10_000 }, () => chance.unit());
  expect(Math.max(...units)).toBeLessThan(1);
  expect(Math.min(...units)).toBeGreaterThanOrEqual(0);
  expect(units.reduce((sum, unit) => sum + unit, 0) / units.length).toBeCloseTo(0.5, 1);
});
