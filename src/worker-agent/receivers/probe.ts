/**
 * One GET to an endpoint of this host, over loopback or a Unix socket, with a bound on time and
 * size. Used for the agent's proof to itself and by `evergrant credential-process`. No proxy, no
 * redirect, no retry; refuses to know what the answer means.
 */
import { type IncomingMessage, request } from "node:http";
import { EvergrantError } from "../../protocol/errors.ts";
import { type Clock, type DurationMs, type Random, seconds } from "../../protocol/time.ts";

/** A loopback host and port, or the path of a Unix socket. */
export interface ProbeTarget {
  readonly host?: string;
  readonly port?: number;
  readonly socketPath?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface ProbeReply {
  readonly status: number;
  readonly body: Buffer;
}

const MAX_BYTES = 1024 * 1024;
const MARK_HEADER = "x-evergrant-probe";

/** Marks the agent's own requests, so that they are counted apart. Random, for nobody else to set it. */
export class ProbeMark {
  readonly #nonce: string;

  constructor(random: Random) {
    this.#nonce = Buffer.from(random.bytes(16)).toString("hex");
  }

  headers(): Readonly<Record<string, string>> {
    return { [MARK_HEADER]: this.#nonce };
  }

  isOn({ headers }: IncomingMessage): boolean {
    return headers[MARK_HEADER] === this.#nonce;
  }
}

/** @throws EvergrantError `RECEIVER_FAILED` when nothing answers in time (default 2 s). */
export function askOnce(
  target: ProbeTarget,
  path: string,
  clock: Clock,
  limit: DurationMs = seconds(2),
): Promise<ProbeReply> {
  return new Promise((resolve, reject) => {
    const fail = (why: string): void => {
      cancel();
      call.destroy();
      reject(new EvergrantError("RECEIVER_FAILED", `the endpoint ${why}`));
    };
    const cancel = clock.timer(limit, () => fail(`did not answer within ${limit} ms`));
    const call = request({ ...target, path, method: "GET", agent: false }, (reply) => {
      const parts: Buffer[] = [];
      let size = 0;
      reply.on("data", (part: Buffer) => {
        size += part.length;
        if (size > MAX_BYTES) fail("answered with too much");
        else parts.push(part);
      });
      reply.on("error", () => fail("broke off its answer"));
      reply.on("end", () => {
        cancel();
        resolve({ status: reply.statusCode ?? 0, body: Buffer.concat(parts) });
      });
    });
    call.on("error", (error: NodeJS.ErrnoException) => {
      fail(`cannot be reached (${error.code ?? error.name})`);
    });
    call.end();
  });
}
