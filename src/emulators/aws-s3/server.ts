/**
 * An S3-like resource on a port of its own that opens only to live session credentials of one STS
 * emulator, so that a test or a demo proves what a delivered credential is worth. Objects are in
 * memory; session policies are not evaluated. Owns counting; the rest is admission and operations.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Random } from "../../protocol/time.ts";
import { headerOf, parseAuthorization } from "../aws-sts/sigv4.ts";
import { element, wrap } from "../aws-sts/xml.ts";
import { type Answer, listen, receive, send } from "../shared/exchange.ts";
import type { Refusal } from "../shared/refusal.ts";
import { admit, type KeySource } from "./admission.ts";
import { perform, type S3Operation, targetOf } from "./operations.ts";
import { ObjectStore } from "./store.ts";

const LARGEST_BODY = 64 * 1024 * 1024;

export interface S3EmulatorOptions {
  /** Whose credentials count, and whose clock. */
  readonly sts: KeySource;
  readonly random: Random;
  /** Default 0: a free port. */
  readonly port?: number | undefined;
  /** Default 127.0.0.1. */
  readonly host?: string | undefined;
  /** Buckets that exist. Default: every bucket exists. */
  readonly buckets?: readonly string[] | undefined;
}

/** One answered request, without secrets. */
export interface S3Call {
  readonly operation: S3Operation;
  /** As claimed; absent for unsigned requests. */
  readonly accessKeyId?: string;
  /** `ok` or the error code. */
  readonly outcome: string;
}

export interface S3Counters {
  readonly total: number;
  /** By operation, then by outcome: `ok` or an error code. */
  readonly calls: Readonly<Record<string, Readonly<Record<string, number>>>>;
  /** By access key id, then by outcome: shows which rotation served which request. */
  readonly keys: Readonly<Record<string, Readonly<Record<string, number>>>>;
}

export interface S3Emulator {
  /** `http://host:port`; clients must use path style. */
  readonly url: string;
  /** A copy of the counts at this moment. */
  readonly counters: S3Counters;
  /** Called after each answer. May be replaced at any time. */
  onAnswer: ((call: S3Call) => void) | undefined;
  /** Closes the port and every connection. */
  stop(): Promise<void>;
}

/** @throws EvergrantError SERVER_START_FAILED where the port can't be had. */
export async function startS3Emulator(options: S3EmulatorOptions): Promise<S3Emulator> {
  const { sts, random, buckets } = options;
  const store = new ObjectStore();
  const counters = {
    total: 0,
    calls: {} as Record<string, Record<string, number>>,
    keys: {} as Record<string, Record<string, number>>,
  };

  const answerTo = (request: Exclude<Awaited<ReturnType<typeof receive>>, "too-large">) => {
    const target = targetOf(request);
    const admitted = admit(request, sts);
    if (!admitted.ok) return { target, result: admitted };
    if (buckets !== undefined && !buckets.includes(target.bucket)) {
      return { target, result: { ok: false as const, refusal: NO_SUCH_BUCKET } };
    }
    return { target, result: perform(target, request, admitted.value, store, sts.now()) };
  };

  const exchange = async (incoming: IncomingMessage, response: ServerResponse): Promise<void> => {
    const request = await receive(incoming, LARGEST_BODY);
    const requestId = Buffer.from(random.bytes(8)).toString("hex").toUpperCase();
    if (request === "too-large") {
      return send(response, errorAnswer(TOO_LARGE, incoming.method, requestId), sts.now());
    }
    const { target, result } = answerTo(request);
    const accessKeyId = parseAuthorization(headerOf(request, "authorization") ?? "")?.accessKeyId;
    const outcome = result.ok ? "ok" : result.refusal.code;
    counters.total += 1;
    add(counters.calls, target.operation, outcome);
    if (accessKeyId !== undefined) add(counters.keys, accessKeyId, outcome);
    const answer = result.ok
      ? result.value
      : errorAnswer(result.refusal, request.method, requestId);
    const headers = { ...answer.headers, "x-amz-request-id": requestId };
    send(response, { ...answer, headers }, sts.now());
    const { operation } = target;
    const call = { operation, outcome, ...(accessKeyId === undefined ? {} : { accessKeyId }) };
    emulator.onAnswer?.(call);
  };

  const listening = await listen(options.host ?? "127.0.0.1", options.port ?? 0, exchange);
  const emulator: S3Emulator = {
    url: listening.url,
    get counters() {
      return structuredClone(counters);
    },
    onAnswer: undefined,
    stop: listening.stop,
  };
  return emulator;
}

const NO_SUCH_BUCKET: Refusal = {
  status: 404,
  code: "NoSuchBucket",
  message: "The specified bucket does not exist",
};
const TOO_LARGE: Refusal = {
  status: 400,
  code: "EntityTooLarge",
  message: "Your proposed upload exceeds the maximum allowed size",
};

/** A HEAD has no body, so that its clients only see the status. */
function errorAnswer(refusal: Refusal, method: string | undefined, requestId: string): Answer {
  const inner =
    element("Code", refusal.code) +
    element("Message", refusal.message) +
    element("RequestId", requestId);
  const body = method === "HEAD" ? "" : wrap("Error", inner);
  return { status: refusal.status, headers: { "content-type": "application/xml" }, body };
}

function add(table: Record<string, Record<string, number>>, row: string, column: string): void {
  const counts = table[row] ?? {};
  table[row] = counts;
  counts[column] = (counts[column] ?? 0) + 1;
}
