/**
 * `npm run simulate -- --seeds N --from S [--stop]`, or `-- --seed S` for one seed with its trace.
 * Exit code 1 if any failed; the last line says how many.
 */
import { fork } from "node:child_process";
import { stdout } from "node:process";
import { parseArgs } from "node:util";
import { type Report, simulate } from "./simulate.ts";

const WORKERS = 2;
/** Seeds that a worker takes at a time. */
const CHUNK = 20;

/** Failures that are written out; the rest are counted. */
const MOST_SHOWN = 50;

interface Task {
  readonly from: number;
  readonly count: number;
}

interface Result {
  readonly done: number;
  readonly events: number;
  readonly failed: readonly { seed: number; invariant: string; text: string }[];
}

const say = (line: string): void => void stdout.write(`${line}\n`);

async function work({ from, count }: Task): Promise<Result> {
  const reports: Report[] = [];
  for (let seed = from; seed < from + count; seed += 1) reports.push(await simulate(seed));
  return {
    done: count,
    events: reports.reduce((sum, report) => sum + report.events, 0),
    failed: reports.flatMap(({ seed, violation }) =>
      violation === undefined
        ? []
        : [{ seed, invariant: violation.invariant, text: violation.text }],
    ),
  };
}

async function replay(seed: number): Promise<boolean> {
  const { violation, trace, events, calls, faults } = await simulate(seed, true);
  for (const line of trace) say(line);
  say(`${events} events, ${calls} issuer calls, faults ${JSON.stringify([...faults])}`);
  if (violation !== undefined) {
    say(`seed ${seed}: ${violation.invariant} at ${violation.at}: ${violation.text}`);
  }
  return violation === undefined;
}

/** Spreads the seeds over processes; each takes the next chunk when it has finished one. */
function spread(from: number, seeds: number, stop: boolean): Promise<number> {
  return new Promise((resolve, reject) => {
    let next = from;
    let failed = 0;
    let running = 0;
    const tell = (child: ReturnType<typeof fork>): void => {
      const count = Math.min(CHUNK, from + seeds - next);
      if (count <= 0 || (stop && failed > 0)) {
        child.disconnect();
        return;
      }
      child.send({ from: next, count } satisfies Task);
      next += count;
    };
    for (let i = 0; i < Math.min(WORKERS, Math.ceil(seeds / CHUNK)); i += 1) {
      const child = fork(import.meta.filename, ["--worker"]);
      running += 1;
      child.on("message", (result: Result) => {
        for (const { seed, invariant, text } of result.failed) {
          failed += 1;
          if (failed > MOST_SHOWN) continue;
          say(`seed ${seed}: ${invariant}: ${text.split("\n").slice(0, 4).join(" | ")}`);
        }
        tell(child);
      });
      child.on("exit", (code) => {
        running -= 1;
        if (code !== 0) reject(new Error(`a worker ended with ${code}`));
        else if (running === 0) resolve(failed);
      });
      tell(child);
    }
  });
}

const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "1000" },
    from: { type: "string", default: "1" },
    seed: { type: "string" },
    stop: { type: "boolean", default: false },
    worker: { type: "boolean", default: false },
  },
});

if (values.worker) {
  process.on("message", async (task: Task) => process.send?.(await work(task)));
} else if (values.seed !== undefined) {
  const well = await replay(Number(values.seed));
  say(`1 seeds, ${well ? 0 : 1} failed`);
  process.exitCode = well ? 0 : 1;
} else {
  const seeds = Number(values.seeds);
  const failed = await spread(Number(values.from), seeds, values.stop);
  say(`${seeds} seeds, ${failed} failed`);
  process.exitCode = failed === 0 ? 0 : 1;
}
