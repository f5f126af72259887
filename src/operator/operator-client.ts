/**
 * The operator's client, for the command line and whoever else commands a job: every command is
 * signed with the operator's key, every answer verified against the job's keys. Owns the connection;
 * refuses to know how anything is shown.
 */
import { accessFromBroker } from "../nats/access.ts";
import { connectNats } from "../nats/connect.ts";
import type {
  AgentStatus,
  Answer,
  Command,
  JobStatus,
  RotationStatus,
} from "../protocol/control.ts";
import { EvergrantError } from "../protocol/errors.ts";
import type { OperatorFile } from "../protocol/join.ts";
import type { JobId } from "../protocol/names.ts";
import { type Clock, type DurationMs, type Random, seconds } from "../protocol/time.ts";
import { systemClock, systemRandom } from "../runtime/system-clock.ts";
import { openChannel } from "./channel.ts";
import { readOperatorFile } from "./operator-file.ts";
import {
  followRotation,
  ROTATION_POLL,
  type RotationSource,
  takeBefore,
} from "./rotation-watch.ts";

export interface RotateRequest {
  /** Names of providers; absent: all. */
  readonly providers?: readonly string[];
  /** Why, for the audit; at most 500 characters. */
  readonly text: string;
  /** Absent: the answer comes at once. Else it comes when the rotation has ended, or after so long. */
  readonly wait?: DurationMs;
  /** Called with each state that is seen while waiting. */
  readonly onProgress?: (rotation: RotationStatus) => void;
}

export interface OperatorClient {
  readonly id: JobId;
  readonly operator: string;
  status(): Promise<JobStatus>;
  agents(): Promise<readonly AgentStatus[]>;
  /**
   * Forces a rotation. Without `wait` the answer is the rotation as accepted; with it, as it stands at
   * its end (`done`, `failed`) or when the time is over (any other state: `missing` names the agents).
   * A request during the cooldown is deferred by the coordinator, never answered with what is there.
   * @throws EvergrantError `CONFIG_INVALID` for an unknown provider
   */
  rotate(request: RotateRequest): Promise<RotationStatus>;
  /** @throws EvergrantError `CONFIG_INVALID` when the coordinator does not know it (any more). */
  rotation(id: string): Promise<RotationStatus>;
  /** Ends the job; returns once the coordinator has begun to. */
  end(): Promise<void>;
  close(): Promise<void>;
}

export interface ConnectOperatorOptions {
  /** Default: the machine's. */
  readonly clock?: Clock;
  readonly random?: Random;
  /** For the broker. Default 5 s. */
  readonly connectTimeout?: DurationMs;
  /** For each answer. Default 5 s. */
  readonly answerTimeout?: DurationMs;
}

/**
 * Connects with an operator's file, given as its path or as its content. Every method, and this, may
 * throw EvergrantError with `NO_COORDINATOR` (nobody answers), `NOT_AUTHORISED`, `MESSAGE_FORGED`,
 * `MESSAGE_EXPIRED` (clocks are far apart); this one `FILE_UNUSABLE` as well.
 */
export async function connectOperator(
  source: string | OperatorFile,
  options: ConnectOperatorOptions = {},
): Promise<OperatorClient> {
  const file =
    typeof source === "string" ? readOperatorFile({ path: source, byDefault: false }) : source;
  const { clock = systemClock, random = systemRandom } = options;
  const id = { tenant: file.tenant, job: file.job };
  const broker = await connectNats({
    role: "operator",
    id,
    name: file.operator,
    access: accessFromBroker(file.nats),
    clock,
    startTimeout: options.connectTimeout ?? seconds(5),
  }).catch((thrown: unknown) => {
    throw unreachable(thrown, id);
  });
  const channel = openChannel({
    broker,
    file,
    clock,
    random,
    answerTimeout: options.answerTimeout ?? seconds(5),
  });

  const ask = async <K extends Answer["kind"]>(command: Command, kind: K) => {
    const answer: Answer = await channel.ask(command);
    if (answer.kind === kind) return answer as Extract<Answer, { kind: K }>;
    throw new EvergrantError("MESSAGE_MALFORMED", `a ${answer.kind} answers ${command.kind}`);
  };
  const status = async () => (await ask({ kind: "status" }, "status")).status;
  const agents = async () => {
    const all: AgentStatus[] = [];
    let after: string | undefined;
    do {
      const page = await ask(
        { kind: "agents", ...(after === undefined ? {} : { after }) },
        "agents",
      );
      all.push(...page.agents);
      after = page.next;
    } while (after !== undefined);
    return all;
  };
  const rotation = async (of: string) =>
    (await ask({ kind: "rotation", id: of }, "rotation")).rotation;

  return {
    id,
    operator: file.operator,
    status,
    agents,
    rotation,
    async rotate({ providers, text, wait, onProgress }) {
      const command: Command = {
        kind: "rotate",
        text,
        ...(providers === undefined ? {} : { providers: [...providers] }),
      };
      const request = async () => (await ask(command, "rotation")).rotation;
      if (wait === undefined) return await request();
      const source: RotationSource = { status, agents, rotation, request };
      const before = await takeBefore(source);
      return await followRotation(source, before, await request(), {
        clock,
        limit: wait,
        poll: ROTATION_POLL,
        ...(onProgress === undefined ? {} : { onProgress }),
      });
    },
    async end() {
      await ask({ kind: "end" }, "ending");
    },
    close: () => broker.close(),
  };
}

/** Private servers end with their coordinator: a broker that is away means the same to an operator. */
function unreachable(thrown: unknown, { tenant, job }: JobId): EvergrantError {
  const error = EvergrantError.from(thrown, "BROKER_UNAVAILABLE", "connecting");
  if (error.code !== "START_TIMEOUT" && error.code !== "BROKER_UNAVAILABLE") return error;
  return new EvergrantError(
    "NO_COORDINATOR",
    `${tenant}/${job} can't be reached: its NATS server does not answer (is its coordinator running?)`,
    { cause: error },
  );
}
