/**
 * The admin path, for tests and demos in another process: `GET` and `POST /_emulator/knobs`,
 * `GET /_emulator/counters`. Unauthenticated: listen on loopback only.
 */
import type { z } from "zod";
import type { Now } from "../../protocol/time.ts";
import type { ReceivedRequest } from "./exchange.ts";
import { fromWire } from "./knobs.ts";

export const ADMIN_PREFIX = "/_emulator/";

export interface AdminTarget {
  readonly knobs: object;
  readonly counters: object;
  /** The JSON form of any subset of the knobs. */
  readonly wireKnobs: z.ZodType<object>;
}

/** A status, and what to put into the body as JSON. */
export type AdminAnswer = readonly [status: number, value: object];

const failed = (status: number, ...errors: string[]): AdminAnswer => [status, { errors }];

/** 200 with the knobs or counters after the request; 400 with every fault of a body; 404, 405. */
export function answerAdmin(
  { method, path, body }: ReceivedRequest,
  target: AdminTarget,
  now: Now,
): AdminAnswer {
  const what = path.slice(ADMIN_PREFIX.length);
  if (what !== "knobs" && what !== "counters") return failed(404, "no such path");
  if (method === "GET") return [200, target[what]];
  if (method !== "POST" || what !== "knobs") return failed(405, "no such method here");
  let parsed: unknown;
  try {
    parsed = JSON.parse(body.toString());
  } catch {
    return failed(400, "the body is not JSON");
  }
  const wire = target.wireKnobs.safeParse(parsed);
  if (!wire.success) {
    const { issues } = wire.error;
    return failed(400, ...issues.map(({ path: at, message }) => `${at.join(".")}: ${message}`));
  }
  Object.assign(target.knobs, fromWire(wire.data, now));
  return [200, target.knobs];
}
