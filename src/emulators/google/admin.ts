/**
 * The admin path, for tests and demos in another process: `GET` and `POST /_emulator/knobs`,
 * `GET /_emulator/counters`. Unauthenticated: listen on loopback only.
 */
import type { Now } from "../../protocol/time.ts";
import type { Answer } from "../aws-sts/exchange.ts";
import { json } from "./answers.ts";
import { fromWire, type GoogleKnobs, wireKnobs } from "./knobs.ts";
import type { GoogleCounters } from "./ledger.ts";

export const ADMIN_PREFIX = "/_emulator/";

export interface AdminTarget {
  readonly knobs: GoogleKnobs;
  readonly counters: GoogleCounters;
}

/** 200 with the knobs or counters after the request; 400 with every fault of a body; 404, 405. */
export function answerAdmin(
  method: string,
  path: string,
  body: string,
  target: AdminTarget,
  now: Now,
): Answer {
  const what = path.slice(ADMIN_PREFIX.length);
  if (what !== "knobs" && what !== "counters") return json(404, { errors: ["no such path"] });
  if (method === "GET") return json(200, target[what]);
  if (method !== "POST" || what !== "knobs") return json(405, { errors: ["no such method here"] });
  let parsed: unknown;
  try {
    parsed = JSON.parse(body);
  } catch {
    return json(400, { errors: ["the body is not JSON"] });
  }
  const wire = wireKnobs.safeParse(parsed);
  if (!wire.success) {
    const errors = wire.error.issues.map(({ path: at, message }) => `${at.join(".")}: ${message}`);
    return json(400, { errors });
  }
  Object.assign(target.knobs, fromWire(wire.data, now));
  return json(200, target.knobs);
}
