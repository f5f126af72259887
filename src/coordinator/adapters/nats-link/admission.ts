/**
 * What an agent brings to be let in with: opened and its signature checked. Owns that; refuses to
 * judge expiry, counts and bans, which are the core's.
 */
import { EvergrantError } from "../../../protocol/errors.ts";
import { type JoinToken, readJoinToken, readTicket } from "../../../protocol/join.ts";
import type { VerifyKey } from "../../../protocol/keys.ts";
import type { JobId } from "../../../protocol/names.ts";
import type { RegisterBody } from "../../../protocol/register.ts";
import { epochMs } from "../../../protocol/time.ts";
import type { Admission } from "../../ports/agent-link.ts";
import { BoundedMap } from "./bounded-map.ts";

/** Before every expiry: the token is passed on, ended or not. */
const NO_TIME = epochMs(-1);
/** One join token lets thousands in: its signature is checked once. */
const TOKENS_KEPT = 64;

export function admissions(job: JobId, keys: readonly VerifyKey[]) {
  const genuine = new BoundedMap<string, JoinToken>(TOKENS_KEPT);
  const tokenOf = async (jws: string): Promise<JoinToken> => {
    const known = genuine.get(jws);
    if (known !== undefined) return known;
    const token = await readJoinToken(jws, job, keys, NO_TIME);
    genuine.set(jws, token);
    return token;
  };
  const ticketOf = async (jws: string, body: RegisterBody): Promise<Admission> => {
    const ticket = await readTicket(jws, job, keys);
    // The ticket is of a key and a name: nobody else's request may bring it.
    if (ticket.agent !== body.agent || ticket.key.jwk.x !== body.key.jwk.x) {
      return { kind: "none", code: "JOIN_TOKEN_INVALID" };
    }
    return { kind: "ticket", ticket };
  };

  /** The ticket first, since it is not counted. Never rejects. */
  return async (body: RegisterBody): Promise<Admission> => {
    let refused: Admission = { kind: "none", code: "JOIN_TOKEN_INVALID" };
    const attempts = [
      body.ticket === undefined ? undefined : () => ticketOf(body.ticket ?? "", body),
      body.token === undefined
        ? undefined
        : async () => ({ kind: "token" as const, token: await tokenOf(body.token ?? "") }),
    ];
    for (const attempt of attempts) {
      if (attempt === undefined) continue;
      try {
        const admission = await attempt();
        if (admission.kind !== "none") return admission;
      } catch (thrown) {
        const { code } = EvergrantError.from(thrown, "JOIN_TOKEN_INVALID", "reading the token");
        refused = { kind: "none", code };
      }
    }
    return refused;
  };
}
