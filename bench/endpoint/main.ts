/**
 * Requests a second and their p99 at the container endpoint, beside a bare `node:http` server that answers
 * with the same bytes: kept-alive connections, each with one request under way.
 *
 *     npm run bench -- endpoint --seconds 10 --connections 32
 */
import { mkdtempSync, rmSync } from "node:fs";
import { Agent, get } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { systemClock } from "../../src/runtime/system-clock.ts";
import { type Child, cpuBetween, startChild, type Usage } from "../support/child.ts";
import { median, percentile, report, row } from "../support/figures.ts";
import type { ServerQuestion } from "./server.ts";

const { values } = parseArgs({
  options: {
    seconds: { type: "string", default: "3" },
    connections: { type: "string", default: "32" },
    rounds: { type: "string", default: "3" },
    report: { type: "string" },
  },
});

const now = (): number => systemClock.now().mono;

interface Place {
  readonly url: string;
  readonly token?: string;
}

function ask(
  place: Place,
  agent: Agent,
): Promise<{ body: string; headers: Record<string, string> }> {
  const headers = {
    accept: "application/json",
    ...(place.token === undefined ? {} : { authorization: place.token }),
  };
  return new Promise((resolve, reject) => {
    get(place.url, { agent, headers }, (response) => {
      let body = "";
      response.setEncoding("utf8").on("data", (chunk: string) => {
        body += chunk;
      });
      response.once("end", () => {
        if (response.statusCode !== 200) reject(new Error(`HTTP ${response.statusCode}`));
        else resolve({ body, headers: response.headers as Record<string, string> });
      });
    }).once("error", reject);
  });
}

interface Load {
  readonly perSecond: number;
  readonly p50: number;
  readonly p99: number;
  readonly serverCpuUs: number;
}

async function load(server: Child, place: Place): Promise<Load> {
  const agent = new Agent({ keepAlive: true, maxSockets: Number(values.connections) });
  const took: number[] = [];
  const used = () => server.ask<Usage>({ kind: "usage" } satisfies ServerQuestion);
  const before = await used();
  const began = now();
  const end = began + Number(values.seconds) * 1000;
  const caller = async (): Promise<void> => {
    for (let at = now(); at < end; ) {
      await ask(place, agent);
      const done = now();
      took.push(done - at);
      at = done;
    }
  };
  await Promise.all(Array.from({ length: Number(values.connections) }, caller));
  const lasted = (now() - began) / 1000;
  const after = await used();
  agent.destroy();
  return {
    perSecond: took.length / lasted,
    p50: percentile(took, 0.5),
    p99: percentile(took, 0.99),
    serverCpuUs: (cpuBetween(before, after) * 1000) / took.length,
  };
}

const dir = mkdtempSync(join(tmpdir(), "evergrant-bench-endpoint-"));
const [ours, bare] = [0, 1].map(() => startChild(new URL("./server.ts", import.meta.url))) as [
  Child,
  Child,
];
try {
  const place = await ours.ask<Place>({ kind: "evergrant", dir } satisfies ServerQuestion);
  const one = new Agent({ keepAlive: false });
  const { body, headers } = await ask(place, one);
  const {
    "content-length": _length,
    date: _date,
    connection: _c,
    "keep-alive": _k,
    ...same
  } = headers;
  const bareQuestion = { kind: "bare", body, headers: same } satisfies ServerQuestion;
  const barePlace = await bare.ask<Place>(bareQuestion);
  const results: { ours: Load[]; bare: Load[] } = { ours: [], bare: [] };
  // One round of each in turn, so that noise falls on both alike; the first warms up.
  for (let round = 0; round <= Number(values.rounds); round += 1) {
    const pair = { ours: await load(ours, place), bare: await load(bare, barePlace) };
    if (round === 0) continue;
    results.ours.push(pair.ours);
    results.bare.push(pair.bare);
  }
  const of = (side: "ours" | "bare", key: keyof Load) => median(results[side].map((l) => l[key]));
  const figure = (what: string, key: keyof Load, unit: string) =>
    row(`aws-container: ${what}`, of("ours", key), unit, of("bare", key));
  report(
    "endpoint",
    [
      figure("requests", "perSecond", "1/s"),
      figure("p50", "p50", "ms"),
      figure("p99", "p99", "ms"),
      figure("server's CPU for each request", "serverCpuUs", "µs"),
    ],
    values.report,
  );
} finally {
  await Promise.all([ours.stop(), bare.stop()]);
  rmSync(dir, { recursive: true, force: true });
}
