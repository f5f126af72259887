/** The sealed answer to a registration: keys, ticket and where things stand, or a refusal. */
import { toBase64Url } from "../../../protocol/encoding.ts";
import { signTicket } from "../../../protocol/join.ts";
import {
  currentSet,
  groupKeyIn,
  type JobKeySet,
  type JobKeys,
  publicKeysOf,
} from "../../../protocol/keys.ts";
import type { JobId } from "../../../protocol/names.ts";
import { type RegisterBody, sealRefused, sealRegistered } from "../../../protocol/register.ts";
import type { Admission, RegisterDecision } from "../../ports/agent-link.ts";
import { BoundedMap } from "./bounded-map.ts";
import type { MacKeys } from "./mac-keys.ts";

/** A registration that waits for the core's decision. */
export interface OpenRegistration {
  readonly body: Omit<RegisterBody, "token" | "ticket" | "replyKey">;
  readonly replyKey: string;
  /** That the request was sealed to, and so the newest that the agent is sure to know. */
  readonly set: JobKeySet;
  /** The subject to answer to. */
  readonly reply: string;
  readonly admission: Admission;
}

export function registrationAnswers(id: JobId, keys: JobKeys, macs: MacKeys) {
  const file = keys.reveal();
  const set = currentSet(file);
  const jobKeys = publicKeysOf(file);
  const groupKeys = new BoundedMap<string, { kid: string; key: string }>(32);
  /** Nothing for a key whose set is gone: what was sealed under it has been replaced long ago. */
  const groupKey = (kid: string): { kid: string; key: string }[] => {
    const known = groupKeys.get(kid);
    if (known !== undefined) return [known];
    const group = groupKeyIn(file, kid);
    if (group === undefined) return [];
    const fresh = { kid, key: toBase64Url(group.key) };
    groupKeys.set(kid, fresh);
    return [fresh];
  };

  return async (open: OpenRegistration, decision: RegisterDecision): Promise<Uint8Array> => {
    const { body, replyKey } = open;
    const { nonce, agent } = body;
    const { timeMs } = decision;
    if (!decision.accepted) {
      return await sealRefused({ nonce, replyKey }, decision.code, timeMs, open.set.signing);
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
        groupKeys: decision.groupKids.flatMap(groupKey),
        macKey: toBase64Url(macs.letIn(agent, body.instance)),
        ticket,
        jobKeys,
        beatMs,
      },
      replyKey,
      bundle,
      open.set.signing,
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
