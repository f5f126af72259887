/**
 * One command, one answer: signed on the way out, verified on the way in. Owns nonce, expiry and the
 * meaning of silence; refuses to know what a command is for.
 */
import { RequestError, TimeoutError } from "@nats-io/transport-node";
import type { Broker } from "../nats/connect.ts";
import { type Answer, type Command, openAnswer, sealCommand } from "../protocol/control.ts";
import { toBase64Url } from "../protocol/encoding.ts";
import { ERROR_CODES, type ErrorCode, EvergrantError } from "../protocol/errors.ts";
import type { OperatorFile } from "../protocol/join.ts";
import { subject } from "../protocol/subjects.ts";
import { type Clock, type DurationMs, later, type Random, seconds } from "../protocol/time.ts";

/** How long a recorded command could be played again, were its nonce forgotten. */
const COMMAND_LIFE: DurationMs = seconds(60);

export interface Channel {
  /**
   * Sends a command and returns the coordinator's answer.
   * @throws EvergrantError `NO_COORDINATOR` when nobody answers within the limit; `MESSAGE_FORGED`
   * or `MESSAGE_REPLAYED` for an answer that is not the job's to this command; or the code with
   * which the coordinator refuses.
   */
  ask(command: Command): Promise<Exclude<Answer, { kind: "refused" }>>;
}

export interface ChannelOptions {
  readonly broker: Pick<Broker, "nc">;
  readonly file: OperatorFile;
  readonly clock: Clock;
  readonly random: Random;
  /** Silence this long means that there is no coordinator. */
  readonly answerTimeout: DurationMs;
}

export function openChannel({ broker, file, clock, random, ...options }: ChannelOptions): Channel {
  const { tenant, job, operator, key, jobKeys } = file;
  const to = subject.control({ tenant, job });
  return {
    async ask(command) {
      const nonce = toBase64Url(random.bytes(18));
      const issuedAt = clock.now().wall;
      const envelope = {
        v: 1,
        tenant,
        job,
        operator,
        nonce,
        issuedAtMs: Math.floor(issuedAt),
        notAfterMs: Math.floor(later(issuedAt, COMMAND_LIFE)),
        command,
      } as const;
      const bytes = await sealCommand(envelope, key);
      const reply = await broker.nc
        .request(to, bytes, { timeout: options.answerTimeout })
        .catch((cause: unknown) => {
          throw silence(cause, file, options.answerTimeout);
        });
      const opened = await openAnswer(reply.data, jobKeys.signing);
      if (opened.nonce !== nonce) {
        throw new EvergrantError("MESSAGE_REPLAYED", "the answer is to another command");
      }
      if (opened.answer.kind === "refused") {
        throw new EvergrantError(knownCode(opened.answer.code), opened.answer.message);
      }
      return opened.answer;
    },
  };
}

/** A coordinator of a later version may know codes that are unknown here. */
function knownCode(code: string): ErrorCode {
  return ERROR_CODES.find((known) => known === code) ?? "INTERNAL";
}

function silence(cause: unknown, { tenant, job }: OperatorFile, limit: DurationMs): EvergrantError {
  const nobody = cause instanceof RequestError && cause.isNoResponders();
  if (nobody || cause instanceof TimeoutError) {
    const how = nobody ? "nobody listens" : `no answer within ${limit / 1000} s`;
    return new EvergrantError("NO_COORDINATOR", `${tenant}/${job} has no coordinator: ${how}`);
  }
  // The connection is lost or closing: whoever waits may ask again.
  return new EvergrantError(
    "NO_COORDINATOR",
    `${tenant}/${job} can't be asked: ${cause instanceof Error ? cause.name : typeof cause}`,
    { cause },
  );
}
