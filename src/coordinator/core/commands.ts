/** The operator's commands. Signatures were checked at the door; job, expiry, nonce and right are judged here. */
import type { Answer, Command, CommandEnvelope } from "../../protocol/control.ts";
import type { ErrorCode } from "../../protocol/errors.ts";
import { type DurationMs, durationMs, seconds } from "../../protocol/time.ts";
import {
  audit,
  countRefused,
  jobTime,
  log,
  newOp,
  nextSequence,
  plus,
  rounded,
  type Turn,
} from "./core.ts";
import { demandNew } from "./demand.ts";
import type { Event } from "./effects.ts";
import { startEnding } from "./ending.ts";
import { isLeading } from "./lease.ts";
import { agentStatuses, jobStatus } from "./status.ts";

/** The longest life of a command, and how far its sender's clock may be ahead. */
const MAX_COMMAND_LIFE: DurationMs = seconds(300);

export function onCommand(turn: Turn, event: Extract<Event, { kind: "command" }>): void {
  const { core } = turn;
  // A standby is silent: the leader answers, or nobody does and the operator is told so.
  if (!isLeading(core)) return;
  const { envelope, request } = event;
  const refused = judge(turn, envelope);
  const answer: Answer =
    refused === undefined
      ? carryOut(turn, envelope)
      : { kind: "refused", code: refused.code, message: refused.message };
  if (refused !== undefined) {
    countRefused(core, refused.code);
    audit(turn, "command-refused", { operator: envelope.operator, code: refused.code });
    log(turn, "warn", "command refused", { operator: envelope.operator, code: refused.code });
  }
  turn.effects.push({
    kind: "answer-command",
    request,
    answer: {
      v: 1,
      nonce: envelope.nonce,
      term: core.leadership.term,
      sequence: nextSequence(core),
      timeMs: rounded(jobTime(turn)),
      answer,
    },
  });
}

interface Refusal {
  readonly code: ErrorCode;
  readonly message: string;
}

function judge(turn: Turn, envelope: CommandEnvelope): Refusal | undefined {
  const { core, now } = turn;
  const { tenant, job } = core.settings.id;
  if (envelope.tenant !== tenant || envelope.job !== job) {
    return { code: "MESSAGE_FOR_OTHER_JOB", message: "a command for another job" };
  }
  const time = jobTime(turn);
  const life = durationMs(envelope.notAfterMs - envelope.issuedAtMs);
  if (
    envelope.notAfterMs <= time ||
    life > MAX_COMMAND_LIFE ||
    envelope.issuedAtMs > time + MAX_COMMAND_LIFE
  ) {
    return {
      code: "MESSAGE_EXPIRED",
      message:
        "the command has expired, or the operator's clock is minutes away from the coordinator's",
    };
  }
  const { nonces } = core;
  for (const [nonce, until] of nonces) if (until <= now.mono) nonces.delete(nonce);
  if (nonces.has(envelope.nonce)) {
    return { code: "MESSAGE_REPLAYED", message: "this command was carried out before" };
  }
  nonces.set(envelope.nonce, plus(now.mono, durationMs(2 * MAX_COMMAND_LIFE)));
  return mayCommand(envelope.operator, envelope.command)
    ? undefined
    : { code: "NOT_AUTHORISED", message: `${envelope.operator} may not ${envelope.command.kind}` };
}

/** Whether this operator may give this command. Every known operator may do all, until there are policies. */
export function mayCommand(_operator: string, _command: Command): boolean {
  return true;
}

function carryOut(turn: Turn, { operator, command }: CommandEnvelope): Answer {
  const { core } = turn;
  switch (command.kind) {
    case "status":
      return { kind: "status", status: jobStatus(turn) };
    case "agents":
      return { kind: "agents", ...agentStatuses(turn, command.after) };
    case "rotate": {
      const names = command.providers ?? [...core.providers.keys()];
      const unknown = names.filter((name) => !core.providers.has(name));
      if (unknown.length > 0) {
        return {
          kind: "refused",
          code: "CONFIG_INVALID",
          message: `no provider ${unknown.join(", ")}; there are ${[...core.providers.keys()].join(", ")}`,
        };
      }
      const id = `r${core.leadership.term}-${newOp(core)}`;
      core.rotations.request(turn, id, operator, names);
      for (const name of names) {
        const run = core.providers.get(name);
        if (run !== undefined) demandNew(run, "forced");
      }
      audit(turn, "rotation-requested", { operator, text: command.text, reason: names.join(" ") });
      log(turn, "info", "rotation requested", {
        operator,
        providers: names,
        why: command.text,
        id,
      });
      return rotation(turn, id);
    }
    case "rotation":
      return rotation(turn, command.id);
    case "end":
      log(turn, "info", "the job is ended by an operator", { operator });
      startEnding(turn, "ended");
      return { kind: "ending" };
  }
}

function rotation(turn: Turn, id: string): Answer {
  const found = turn.core.rotations.find(turn, id);
  return found === undefined
    ? { kind: "refused", code: "CONFIG_INVALID", message: `no rotation ${id} is known (any more)` }
    : { kind: "rotation", rotation: found };
}
