/**
 * One HTTP exchange: bounded in time and size, no redirects, no retries. Owns the transport's
 * failures; refuses to judge a status. Errors never hold the query, where tokens travel.
 */
import { type IncomingMessage, request as plainRequest } from "node:http";
import { request as tlsRequest } from "node:https";
import { EvergrantError } from "../../../protocol/errors.ts";
import { type EpochMs, epochMs } from "../../../protocol/time.ts";

/** Token answers are below a kilobyte; error pages may be some more. */
const MAX_BODY_BYTES = 256 * 1024;

export interface HttpCall {
  readonly method: "GET" | "PUT" | "POST" | "DELETE";
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
  /** PEM; undefined: the system's. */
  readonly ca: string | undefined;
  readonly signal: AbortSignal;
}

export interface HttpAnswer {
  readonly status: number;
  /** What stands behind the status in the first line: KMS and HttpFS name their exception's class there. */
  readonly reason: string;
  readonly contentType: string;
  readonly body: string;
  /** The server's clock; undefined when it sent no usable `Date`. */
  readonly date: EpochMs | undefined;
}

export type Http = (call: HttpCall) => Promise<HttpAnswer>;

/** @throws ISSUER_TIMEOUT when aborted, ISSUER_UNAVAILABLE, ISSUER_ANSWER_UNUSABLE for an endless body. */
export const http: Http = (call) =>
  new Promise((resolve, reject) => {
    const { url, method, headers, body, ca, signal } = call;
    const where = url.origin;
    const fail = (cause: unknown): void => reject(failure(cause, where, signal));
    const options = { method, headers, signal, agent: false, ...(ca === undefined ? {} : { ca }) };
    const start = url.protocol === "https:" ? tlsRequest : plainRequest;
    const request = start(
      url,
      options,
      (answer) => void collect(answer, where).then(resolve, fail),
    );
    request.on("error", fail);
    request.end(body);
  });

async function collect(answer: IncomingMessage, where: string): Promise<HttpAnswer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > MAX_BODY_BYTES) {
      throw new EvergrantError("ISSUER_ANSWER_UNUSABLE", `${where} sends an endless answer`);
    }
    chunks.push(chunk);
  }
  // Hadoop's servers send `Date` twice: at the start of a request and at its answer.
  const dates = (answer.headersDistinct["date"] ?? []).map((text) => Date.parse(text));
  const date = Math.max(...dates);
  return {
    status: answer.statusCode ?? 0,
    reason: answer.statusMessage ?? "",
    contentType: answer.headers["content-type"] ?? "",
    body: Buffer.concat(chunks).toString("utf8"),
    date: Number.isFinite(date) ? epochMs(date) : undefined,
  };
}

function failure(cause: unknown, where: string, signal: AbortSignal): EvergrantError {
  if (cause instanceof EvergrantError) return cause;
  const systemCode = (cause as NodeJS.ErrnoException).code ?? "unknown";
  return signal.aborted
    ? new EvergrantError("ISSUER_TIMEOUT", `${where} did not answer in time`, { cause })
    : new EvergrantError("ISSUER_UNAVAILABLE", `${where} can't be reached (${systemCode})`, {
        cause,
        details: { systemCode },
      });
}
