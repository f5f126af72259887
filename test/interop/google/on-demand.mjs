/**
 * The loop of a client program in the interop tests: each line of standard input is how often `work`
 * is done; one line of JSON says how often it succeeded and what failed.
 */
import { createInterface } from "node:readline";

/** @param {(n: number) => Promise<void>} work */
export async function onDemand(work) {
  let done = 0;
  for await (const line of createInterface({ input: process.stdin })) {
    let ok = 0;
    const errors = [];
    for (let left = Number(line); left > 0; left -= 1) {
      done += 1;
      try {
        await work(done);
        ok += 1;
      } catch (error) {
        errors.push(`${error.name} ${error.code ?? ""} ${error.message}`);
      }
    }
    process.stdout.write(`${JSON.stringify({ ok, errors })}\n`);
  }
}
