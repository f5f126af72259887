/** The shipped alert rules, judged by Prometheus' own tool. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { startProcess } from "../support/evergrant-process.ts";
import { ROOT, scratch } from "../support/packed-package.ts";
import { debianProgram } from "../support/validators.ts";

const RULES = readFileSync(join(ROOT, "deploy/prometheus/evergrant.rules.yaml"), "utf8");
const TESTS = readFileSync(join(ROOT, "test/support/prometheus/evergrant.test.yaml"), "utf8");

/** The output of `promtool test rules`; undefined when every expectation holds. */
async function faults(rules: string): Promise<string | undefined> {
  const dir = scratch("rules");
  writeFileSync(join(dir, "rules.yaml"), rules);
  writeFileSync(join(dir, "test.yaml"), TESTS.replace("[RULES]", "[rules.yaml]"));
  const promtool = await debianProgram("promtool", "prometheus");
  const tested = startProcess(promtool, ["test", "rules", "test.yaml"], { cwd: dir });
  return (await tested.ended) === 0 ? undefined : tested.stdout() + tested.stderr();
}

it("every alert comes when it should and not before", async () => {
  expect(await faults(RULES)).toBeUndefined();
  const alerts = [...RULES.matchAll(/- alert: (\w+)/g)].map(([, name]) => name);
  expect(alerts.filter((name) => !TESTS.includes(`alertname: ${name}`))).toEqual([]);
});

it("a rule with a mistake is found: another threshold, another wait, a standby that counts", async () => {
  for (const [right, wrong] of [
    ["< 600", "< 300"],
    ["for: 5m", "for: 1m"],
    ["evergrant_ready == 0 and on (job, instance) evergrant_leading == 1", "evergrant_ready == 0"],
    ["sum by (job) (evergrant_leading) == 0", "evergrant_leading == 0"],
  ] as const) {
    expect(RULES).toContain(right);
    expect(await faults(RULES.replaceAll(right, wrong)), wrong).toContain("FAILED");
  }
});
