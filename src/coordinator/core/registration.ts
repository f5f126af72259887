/** Judges who is let in. Signatures were checked at the door; expiry, counts and names are judged here. */
import type { ErrorCode } from "../../protocol/errors.ts";
import { audit, countRefused, jobTime, log, rounded, type Turn } from "./core.ts";
import type { Event } from "./effects.ts";
import { isLeading } from "./lease.ts";
import { currentSealed, isPublished } from "./publisher.ts";
import { admit } from "./roster.ts";
import { changeTruth } from "./writer.ts";

type Register = Extract<Event, { kind: "register" }>;

export function onRegister(turn: Turn, event: Register): void {
  const { core } = turn;
  // Nobody is answered before the first bundle of this term is out: the agent asks again shortly.
  if (!isLeading(core) || !isPublished(turn)) return;
  const { committed } = core.writer;
  if (committed === undefined) return;
  const code = refusal(turn, event);
  const timeMs = rounded(jobTime(turn));
  const { agent } = event.body;
  if (code !== undefined) {
    countRefused(core, code);
    audit(turn, "agent-refused", { agent, code });
    log(turn, "warn", "registration refused", { agent, code });
    turn.effects.push({
      kind: "answer-register",
      request: event.request,
      decision: { accepted: false, code, timeMs },
    });
    return;
  }
  admit(turn, event.body);
  audit(turn, "agent-registered", { agent });
  const { published } = core.publisher;
  turn.effects.push({
    kind: "answer-register",
    request: event.request,
    decision: {
      accepted: true,
      term: published?.term ?? core.leadership.term,
      generation: published?.generation ?? 0,
      timeMs,
      groupKids: committed.groupKids,
      beatMs: core.settings.timing.beat,
      bundle: currentSealed(turn),
    },
  });
}

function refusal(turn: Turn, { body, admission }: Register): ErrorCode | undefined {
  const { core } = turn;
  const { tenant, job } = core.settings.id;
  if (body.tenant !== tenant || body.job !== job) return "MESSAGE_FOR_OTHER_JOB";
  switch (admission.kind) {
    case "none":
      return admission.code;
    case "ticket":
      return admission.ticket.agent === body.agent && admission.ticket.key.jwk.x === body.key.jwk.x
        ? undefined
        : "JOIN_TOKEN_INVALID";
    case "token": {
      const { token } = admission;
      if (token.notAfterMs <= jobTime(turn)) return "JOIN_TOKEN_EXPIRED";
      if (isKnown(turn, body.agent, body.key.jwk.x)) return undefined;
      const uses = core.writer.truth?.tokenUses[token.id] ?? 0;
      if (uses >= token.maxAgents) return "JOIN_TOKEN_EXHAUSTED";
      changeTruth(turn, (state) => ({
        ...state,
        tokenUses: { ...state.tokenUses, [token.id]: uses + 1 },
      }));
      return undefined;
    }
  }
}

/** The same key under the same name comes in again: it is counted once. */
function isKnown({ core }: Turn, name: string, keyX: string): boolean {
  const instances = core.roster.byName.get(name) ?? [];
  return [...instances].some(
    (instance) => core.roster.agents.get(`${name}/${instance}`)?.keyX === keyX,
  );
}
