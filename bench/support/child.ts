/** Processes of a benchmark, asked by message and answered by message, one question at a time. */
import { type ChildProcess, fork } from "node:child_process";

export interface Child {
  /** Resolves with the answer; rejects with what the child says is wrong, or when it ends. */
  ask<T>(question: object): Promise<T>;
  stop(): Promise<void>;
}

/** Starts a program that calls `answer`. Garbage can be collected on demand in it. */
export function startChild(program: URL): Child {
  const child: ChildProcess = fork(program, { execArgv: ["--expose-gc"] });
  return {
    ask: (question) =>
      new Promise((resolve, reject) => {
        const ended = (code: number | null): void => reject(new Error(`ended with ${code}`));
        child.once("exit", ended);
        child.once("message", (said: { answer?: unknown; error?: string }) => {
          child.off("exit", ended);
          if (said.error === undefined) resolve(said.answer as never);
          else reject(new Error(said.error));
        });
        child.send(question);
      }),
    stop: () =>
      new Promise((resolve) => {
        if (child.exitCode !== null) return resolve();
        child.once("exit", () => resolve());
        child.kill("SIGKILL");
      }),
  };
}

/** In the child: answers each question. A parent that is gone leaves nobody behind. */
export function answer<Question>(work: (question: Question) => Promise<unknown>): void {
  process.on("message", (question: Question) => {
    work(question).then(
      (result) => process.send?.({ answer: result }),
      (error: unknown) => process.send?.({ error: String(error) }),
    );
  });
  process.on("disconnect", () => process.exit(1));
}

export interface Usage {
  /** Before and after the collection of garbage that comes with the question: it is in no interval. */
  readonly cpuMsUntil: number;
  readonly cpuMsFrom: number;
  readonly rssBytes: number;
  readonly heapBytes: number;
}

/** What this process has used so far, garbage collected. */
export function usage(): Usage {
  const cpuMs = (): number => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1000;
  };
  const cpuMsUntil = cpuMs();
  globalThis.gc?.();
  const { rss, heapUsed, external } = process.memoryUsage();
  return { cpuMsUntil, cpuMsFrom: cpuMs(), rssBytes: rss, heapBytes: heapUsed + external };
}

/** CPU time between two readings, in milliseconds. */
export const cpuBetween = (from: Usage, until: Usage): number => until.cpuMsUntil - from.cpuMsFrom;
