/** docs/operations.md knows every metric, log line and alert that there is, and no others. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { coordinatorMetrics } from "../../../src/coordinator/runtime/metrics.ts";
import type { JobStatus } from "../../../src/protocol/control.ts";
import { agentMetrics } from "../../../src/worker-agent/metrics.ts";

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));
const DOC = readFileSync(join(ROOT, "docs/operations.md"), "utf8");
const RULES = parse(readFileSync(join(ROOT, "deploy/prometheus/evergrant.rules.yaml"), "utf8"));

const unused = (): never => {
  throw new Error("nothing is scraped here");
};
const namesOf = (metrics: readonly { name: string }[]): string[] =>
  metrics.map(({ name }) => name).filter((name) => name.startsWith("evergrant_"));

/** The first column of the table whose head begins so. */
function column(head: string): string[] {
  const lines = DOC.split("\n");
  const isHead = new RegExp(`^\\| ${head} +\\|`);
  const start =
    lines.findIndex((line, at) => isHead.test(line) && lines[at + 1]?.startsWith("| --")) + 2;
  const length = lines.slice(start).findIndex((line) => !line.startsWith("|"));
  return lines
    .slice(start, start + length)
    .flatMap((line) => [...(line.split("|")[1] ?? "").matchAll(/`([^`]+)`/g)])
    .map(([, name = ""]) => name);
}

describe("docs/operations.md", () => {
  it("explains every metric of a coordinator, and none that there is not", async () => {
    const registry = coordinatorMetrics(unused as () => JobStatus);
    expect(column("coordinator").sort()).toEqual(namesOf(registry.getMetricsAsArray()).sort());
  });

  it("explains every metric of an agent, and none that there is not", () => {
    const { registry } = agentMetrics(unused);
    expect(column("agent").sort()).toEqual(namesOf(registry.getMetricsAsArray()).sort());
  });

  it("alerts look at metrics that there are, and each has a runbook", () => {
    const known = new Set([...column("coordinator"), ...column("agent")]);
    const rules: { alert: string; expr: string }[] = RULES.groups.flatMap(
      (group: { rules: object[] }) => group.rules,
    );
    for (const { alert, expr } of rules) {
      for (const [name] of expr.matchAll(/evergrant_\w+/g)) expect(known, alert).toContain(name);
    }
    const runbooks = [...DOC.matchAll(/^### (\w+)$/gm)].map(([, name]) => name);
    expect(runbooks).toEqual(rules.map(({ alert }) => alert));
  });

  it("explains every line that a coordinator or an agent may log above debug", () => {
    const sources = ["src/coordinator", "src/worker-agent"].flatMap((folder) =>
      readdirSync(join(ROOT, folder), { recursive: true })
        .map((name) => join(ROOT, folder, String(name)))
        .filter((name) => name.endsWith(".ts")),
    );
    const said = sources.flatMap((file) => {
      const text = readFileSync(file, "utf8");
      return [
        ...text.matchAll(/\blog\(\s*(?:turn,\s*)?"(?:info|warn|error)",\s*"([^"]+)"/g),
        ...text.matchAll(/\blogger\.(?:info|warn|error)\(\s*\{[^}]*\},\s*"([^"]+)"/g),
      ].map(([, message = ""]) => message);
    });
    expect(said.length).toBeGreaterThan(30);
    const known = [...column("coordinator says"), ...column("agent says")];
    expect([...new Set(said)].filter((message) => !known.includes(message))).toEqual([]);
    // The other way round: what is explained is still said somewhere, as it stands or in parts.
    const all = sources.map((file) => readFileSync(file, "utf8")).join("\n");
    const made = /^(embedded server|… |coordinator )/;
    expect(known.filter((line) => !made.test(line) && !all.includes(line))).toEqual([]);
  });
});
