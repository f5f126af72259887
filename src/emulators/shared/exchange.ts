/**
 * One HTTP exchange on node:http: reads a bounded body, writes an answer whose Date header comes from
 * the emulator's own clock, and runs a listening server that can be stopped at once.
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { EvergrantError } from "../../protocol/errors.ts";
import {
  type CancelTimer,
  type Clock,
  type DurationMs,
  durationMs,
  type EpochMs,
} from "../../protocol/time.ts";

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | Uint8Array;
}

export interface ReceivedRequest {
  readonly method: string;
  /** Raw path and query, as on the request line. */
  readonly target: string;
  /** In wire order, names in any case, repeated names kept apart. */
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly path: string;
  readonly query: string;
  readonly body: Buffer;
}

/** The whole request, or `too-large` once the body is over `limit` bytes. */
export async function receive(
  request: IncomingMessage,
  limit: number,
): Promise<ReceivedRequest | "too-large"> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size <= limit) chunks.push(chunk);
  }
  if (size > limit) return "too-large";
  const target = request.url ?? "/";
  const at = target.indexOf("?");
  const raw = request.rawHeaders;
  return {
    method: request.method ?? "GET",
    target,
    path: at < 0 ? target : target.slice(0, at),
    query: at < 0 ? "" : target.slice(at + 1),
    headers: raw.flatMap((name, index): [string, string][] =>
      index % 2 === 0 ? [[name, raw[index + 1] ?? ""]] : [],
    ),
    body: Buffer.concat(chunks),
  };
}

/** Writes the answer. A client that has gone away is no error. */
export function send(response: ServerResponse, answer: Answer, now: EpochMs): void {
  if (response.destroyed) return;
  response.sendDate = false;
  const length = String(Buffer.byteLength(answer.body));
  response.writeHead(answer.status, {
    "content-length": length,
    ...answer.headers,
    date: new Date(now).toUTCString(),
  });
  response.end(answer.body);
}

/** Waits on the given clock; `stop` ends every wait early. */
export class Waits {
  readonly #clock: Clock;
  readonly #pending = new Set<() => void>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  wait(delay: DurationMs): Promise<void> {
    if (delay <= 0) return Promise.resolve();
    return new Promise((resolve) => {
      let cancel: CancelTimer = () => {};
      const end = (): void => {
        cancel();
        this.#pending.delete(end);
        resolve();
      };
      this.#pending.add(end);
      cancel = this.#clock.timer(durationMs(delay), end, true);
    });
  }

  stop(): void {
    for (const end of [...this.#pending]) end();
  }
}

export interface Listening {
  readonly url: string;
  /** Closes the port and every connection. */
  stop(): Promise<void>;
}

/**
 * Listens on `host:port` (0 picks a free one). An exchange that fails ends its connection.
 * @throws EvergrantError SERVER_START_FAILED where the port can't be had.
 */
export async function listen(
  host: string,
  port: number,
  exchange: (request: IncomingMessage, response: ServerResponse) => Promise<void>,
): Promise<Listening> {
  const server = createServer((request, response) => {
    exchange(request, response).catch(() => response.destroy());
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", (cause: NodeJS.ErrnoException) => {
      const details = { host, port, reason: cause.code ?? "unknown" };
      const message = `cannot listen on ${host}:${port} (${details.reason})`;
      reject(new EvergrantError("SERVER_START_FAILED", message, { cause, details }));
    });
    server.listen(port, host, resolve);
  });
  const address = server.address();
  const actual = typeof address === "object" && address !== null ? address.port : port;
  return {
    url: `http://${host.includes(":") ? `[${host}]` : host}:${actual}`,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
