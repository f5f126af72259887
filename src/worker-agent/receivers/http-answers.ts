/**
 * The answers of the AWS endpoints: the credential's body, and refusals in the JSON form that every
 * SDK reads (delivery.md, section 2.1). Refuses to decide which one is due.
 */
import type { ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { endMalformed } from "./http-listeners.ts";

/** What came of a request, for metrics. `probe` is the agent asking itself; never a consumer. */
export type RequestOutcome =
  | "served"
  | "empty"
  | "expired"
  | "unauthorized"
  | "malformed"
  | "wrong-host"
  | "not-found"
  | "wrong-method"
  | "abandoned"
  | "probe";

export interface Refusal {
  readonly outcome: Exclude<RequestOutcome, "served" | "probe" | "abandoned">;
  /** 503 is the only one that clients take as "ask again"; 4xx ends their try (section 2.1, table). */
  readonly status: 400 | 401 | 403 | 404 | 405 | 503;
  /** Read as `code` by Go and Java, as `Code` by JavaScript. */
  readonly code: string;
  /** For the person who reads the client's error. Never a secret. */
  readonly message: string;
}

export const EMPTY: Refusal = {
  outcome: "empty",
  status: 503,
  code: "CredentialNotReady",
  message: "The agent has not received its first credential yet.",
};

export const EXPIRED: Refusal = {
  outcome: "expired",
  status: 503,
  code: "CredentialExpired",
  message: "The credential has ended and no newer one has arrived.",
};

export const NOT_FOUND: Refusal = {
  outcome: "not-found",
  status: 404,
  code: "UnknownPath",
  message: "There is nothing at this path.",
};

export const WRONG_METHOD: Refusal = {
  outcome: "wrong-method",
  status: 405,
  code: "MethodNotAllowed",
  message: "Only GET is answered.",
};

export const MALFORMED: Refusal = {
  outcome: "malformed",
  status: 400,
  code: "BadRequest",
  message: "This is not a well-formed HTTP request.",
};

const jsonOf = (refusal: Refusal): Buffer =>
  Buffer.from(
    JSON.stringify({
      code: refusal.code,
      message: refusal.message,
      Code: refusal.code,
      Message: refusal.message,
    }),
  );

const headersFor = (body: Buffer): Record<string, string | number> => ({
  "Content-Type": "application/json",
  "Content-Length": body.length,
  "Cache-Control": "no-store",
});

export function sendBody(response: ServerResponse, body: Buffer): void {
  response.writeHead(200, headersFor(body)).end(body);
}

export function sendRefusal(response: ServerResponse, refusal: Refusal): void {
  const body = jsonOf(refusal);
  const headers = headersFor(body);
  if (refusal.status === 405) headers["Allow"] = "GET";
  response.writeHead(refusal.status, headers).end(body);
}

export function sendMalformed(socket: Socket): void {
  const body = jsonOf(MALFORMED);
  endMalformed(socket, headersFor(body), body.toString("utf8"));
}
