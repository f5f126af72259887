/**
 * What a registered agent reports: ack, beat and demand. Form: `<HMAC-SHA256, base64url>.<JSON>`,
 * the MAC over subject, newline and JSON, under the agent's own key (docs/protocol.md, "Reports"),
 * so that a successor can check them without having met the agent.
 */
import { timingSafeEqual } from "node:crypto";
import * as z from "zod";
import { parseJson, text, utf8 } from "./encoding.ts";
import { EvergrantError } from "./errors.ts";
import { mac } from "./mac.ts";
import { nameSchema } from "./names.ts";

const head = {
  v: z.literal(1),
  agent: nameSchema,
  instance: nameSchema,
  /** Grows by one with each report of an instance, of whatever kind: a replay is told by it. */
  sequence: z.int().min(1),
  term: z.int().min(0),
  generation: z.int().min(0),
};

export const receiverResultSchema = z.object({
  provider: z.string(),
  kind: z.string(),
  /** The generation of the credential that the receiver now serves. */
  generation: z.int().min(0),
  outcome: z.enum(["applied", "failed"]),
  /** An ErrorCode, when failed. */
  code: z.string().optional(),
  /** From the bundle's arrival to the proof, in milliseconds. */
  tookMs: z.number().min(0),
});
export type ReceiverResult = z.infer<typeof receiverResultSchema>;

/** The bundle (term, generation) has been dealt with by every receiver. */
export const ackSchema = z.object({
  ...head,
  type: z.literal("ack"),
  results: z.array(receiverResultSchema).max(1000),
});

export const beatSchema = z.object({
  ...head,
  type: z.literal("beat"),
  /** The group key that it can open with. */
  kid: z.string().optional(),
  /** Every receiver has proved this (term, generation): it stands for an ack that was lost. */
  applied: z.boolean().optional(),
  /** The last one: the agent is being stopped, and nobody needs to wait for it. */
  leaving: z.boolean().optional(),
  /** Per provider: the runway in milliseconds, 0 when expired. */
  runwayMs: z.record(z.string(), z.number().min(0)),
  /** Receivers that are failing now: `kind/provider` to an ErrorCode. */
  failing: z.record(z.string(), z.string()),
  /** Messages that the agent has refused since its start, by ErrorCode. */
  refused: z.record(z.string(), z.int().min(0)),
});

/** A consumer's credential was rejected, or the agent finds none: please obtain a fresh one. */
export const demandSchema = z.object({
  ...head,
  type: z.literal("demand"),
  provider: nameSchema,
  /** The generation of the rejected credential; 0 when the agent has none. */
  rejected: z.int().min(0),
});

export const reportSchema = z.discriminatedUnion("type", [ackSchema, beatSchema, demandSchema]);
export type Ack = z.infer<typeof ackSchema>;
export type Beat = z.infer<typeof beatSchema>;
export type Demand = z.infer<typeof demandSchema>;
export type Report = z.infer<typeof reportSchema>;

const MAC_LENGTH = 43;
const MAX_REPORT_BYTES = 256 * 1024;

/** Agent: the bytes to publish on `subject`. */
export function encodeReport(report: Report, subject: string, macKey: Uint8Array): Uint8Array {
  const json = JSON.stringify(report);
  return utf8(`${macOf(macKey, subject, json)}.${json}`);
}

/**
 * Coordinator: checks and reads a report.
 * @param macKeyFor the MAC key of the agent and instance that the report names.
 * @throws MESSAGE_TOO_LARGE, MESSAGE_MALFORMED, MESSAGE_FORGED
 */
export function decodeReport(
  bytes: Uint8Array,
  subject: string,
  macKeyFor: (agent: string, instance: string) => readonly Uint8Array[],
): Report {
  if (bytes.length > MAX_REPORT_BYTES) {
    throw new EvergrantError("MESSAGE_TOO_LARGE", `a report of ${bytes.length} bytes`);
  }
  const frame = text(bytes);
  if (frame[MAC_LENGTH] !== ".") {
    throw new EvergrantError("MESSAGE_MALFORMED", "the report has no MAC");
  }
  const json = frame.slice(MAC_LENGTH + 1);
  const report = parseJson(reportSchema, json, "report");
  const given = Buffer.from(frame.slice(0, MAC_LENGTH), "latin1");
  const genuine =
    subject.endsWith(`.${report.type}.${report.agent}`) &&
    macKeyFor(report.agent, report.instance).some((key) =>
      timingSafeEqual(given, Buffer.from(macOf(key, subject, json), "latin1")),
    );
  if (!genuine) {
    throw new EvergrantError("MESSAGE_FORGED", `a report that is not ${report.agent}'s`);
  }
  return report;
}

/** Over the subject as well, so that a report can't be played on another one. */
const macOf = (key: Uint8Array, subject: string, json: string): string =>
  mac(key, `${subject}\n${json}`);
