/** The sealed answer to a registration: keys, ticket and where things stand, or a refusal. */
import { toBase64Url } from "../../../protocol/encoding.ts";
import { signTicket } from "../../../protocol/join.ts";
import { agentMacKey, currentSet, groupKeyOf, type JobKeys } from "../../../protocol/keys.ts";
import type { JobId } from "../../../protocol/names.ts";
import { type RegisterBody, sealRefused, sealRegistered } from "../../../protocol/register.ts";
import type { Admission, RegisterDecision } from "../../ports/agent-link.ts";
import { BoundedMap } from "./bounded-map.ts";

/** A registration that waits for the core's decision. */
export interface OpenRegistration {
  readonly body: Omit<RegisterBody, "token" | "ticket" | "replyKey">;
  readonly replyKey: string;
  /** The subject to answer to. */
  readonly reply: string;
  readonly admission: Admission;
}

export function registrationAnswers(id: JobId, keys: JobKeys) {
  const set = currentSet(keys.reveal());
  const groupKeys = new BoundedMap<string, string>(32);
  const groupKey = (kid: string): { kid: string; key: string } => {
    const key = groupKeys.get(kid) ?? toBase64Url(groupKeyOf(set, id, kid).key);
    groupKeys.set(kid, key);
    return { kid, key };
  };

  return async (open: OpenRegistration, decision: RegisterDecision): Promise<Uint8Array> => {
    const { body, replyKey } = open;
    const { nonce, agent } = body;
    const { timeMs } = decision;
    if (!decision.accepted) {
      return await sealRefused({ nonce, replyKey }, decision.code, timeMs, set.signing);
    }
    const { term, generation, beatMs, bundle } = decision;
    const ticket = await signTicket(
      {
        tenant: id.tenant,
        job: id.job,
        agent,
        key: body.key,
        tokenId: tokenIdOf(open.admission),
        issuedAtMs: timeMs,
      },
      set.signing,
    );
    return await sealRegistered(
      {
        v: 1,
        nonce,
        term,
        generation,
        timeMs,
        groupKeys: decision.groupKids.map(groupKey),
        macKey: toBase64Url(agentMacKey(set.macRoot, id, body)),
        ticket,
        beatMs,
      },
      replyKey,
      bundle,
      set.signing,
    );
  };
}

/** Which token an agent first came in with: what a revoked token takes with it. */
function tokenIdOf(admission: Admission): string {
  switch (admission.kind) {
    case "token":
      return admission.token.id;
    case "ticket":
      return admission.ticket.tokenId;
    case "none":
      return "";
  }
}
