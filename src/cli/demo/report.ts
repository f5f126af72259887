/**
 * What a demo has shown, and whether it is what was promised. Pure. Owns the report's shape (issue of
 * the main job, item 7): fields may be added, none renamed.
 */
import type { RotationStatus } from "../../protocol/control.ts";
import { howLong, table } from "../table.ts";

export interface DemoRotation {
  readonly provider: string;
  readonly generation: number;
  readonly reason: string;
  readonly issuerCalls: number;
  readonly publishToLastAckMs: number;
  readonly applied: number;
  /** How many agents were there to apply it; fewer than all only while agents were still starting. */
  readonly expected: number;
  readonly missing: readonly string[];
}

export interface DemoReport {
  readonly agents: number;
  /** Calls to AssumeRole, and exchanges at Google's STS, counted at the issuers. */
  readonly issuerCalls: number;
  /** The longest time in which the client had no credential that the service took. */
  readonly longestGapMs: number;
  /** By the coordinator and by all agents. */
  readonly refusedMessages: number;
  /** The same by ErrorCode. */
  readonly refusals: Readonly<Record<string, number>>;
  readonly rotations: readonly DemoRotation[];
  readonly lifetimeMs: number;
  readonly durationMs: number;
  readonly client: ClientTotals;
  /** Credentials under which the client's calls were signed, as the service saw them. */
  readonly credentialsUsed: number;
  /** Empty when the demo has shown what it promises. */
  readonly faults: readonly string[];
}

/** What the client says of its own calls. */
export interface ClientTotals {
  readonly calls: number;
  readonly failed: number;
  readonly longestGapMs: number;
  /** Names of the errors that it met, with their counts. */
  readonly errors: Readonly<Record<string, number>>;
}

export interface DemoFindings {
  readonly agents: number;
  readonly issuerCalls: number;
  /** By ErrorCode. */
  readonly refusals: Readonly<Record<string, number>>;
  readonly rotations: readonly RotationStatus[];
  /** How many agents were there to apply a generation. */
  expected(generation: number): number;
  readonly lifetimeMs: number;
  readonly durationMs: number;
  readonly client: ClientTotals | undefined;
  readonly credentialsUsed: number;
}

const NO_CLIENT: ClientTotals = { calls: 0, failed: 0, longestGapMs: 0, errors: {} };

export function reportOf(findings: DemoFindings): DemoReport {
  const client = findings.client ?? NO_CLIENT;
  const rotations = findings.rotations.map((rotation) => ({
    provider: rotation.providers.join(","),
    generation: rotation.generation,
    reason: rotation.reason,
    issuerCalls: rotation.issuerCalls,
    publishToLastAckMs: Math.round(rotation.publishToLastAckMs ?? 0),
    applied: rotation.applied,
    // A generation that was replaced between two looks has no count of its own.
    expected: Math.max(findings.expected(rotation.generation), rotation.applied),
    missing: rotation.missing,
  }));
  const { agents, issuerCalls, refusals, lifetimeMs, durationMs, credentialsUsed } = findings;
  return {
    agents,
    issuerCalls,
    longestGapMs: Math.round(client.longestGapMs),
    refusedMessages: Object.values(refusals).reduce((sum, count) => sum + count, 0),
    refusals,
    rotations,
    lifetimeMs,
    durationMs: Math.round(durationMs),
    client,
    credentialsUsed,
    faults: faultsOf(findings, client),
  };
}

/** Everything that was promised and is not so. */
function faultsOf(findings: DemoFindings, client: ClientTotals): string[] {
  const { agents, issuerCalls, rotations } = findings;
  const faults: string[] = [];
  if (client.calls === 0) faults.push("the client made no call");
  if (client.longestGapMs > 0) {
    faults.push(`the client was ${howLong(client.longestGapMs)} without a valid credential`);
  }
  // With two providers a generation may bear a new credential of each.
  const obtained = rotations.reduce((sum, { providers }) => sum + providers.length, 0);
  if (issuerCalls !== obtained) {
    faults.push(`${issuerCalls} issuer calls for ${rotations.length} generations`);
  }
  for (const { generation, applied, missing } of rotations) {
    const expected = findings.expected(generation);
    if (applied < expected || missing.length > 0) {
      const who = missing.length === 0 ? "" : `, missing ${missing.join(", ")}`;
      faults.push(`generation ${generation} was applied by ${applied} of ${expected} agents${who}`);
    }
  }
  const last = rotations.at(-1);
  if (last === undefined || last.applied < agents) {
    faults.push(`not all ${agents} agents are there at the end`);
  }
  if (!rotations.some(({ reason }) => reason === "forced")) faults.push("no rotation was forced");
  return faults;
}

export function renderReport(report: DemoReport): string {
  const rows = report.rotations.map((rotation) => [
    rotation.provider,
    String(rotation.generation),
    rotation.reason,
    String(rotation.issuerCalls),
    howLong(rotation.publishToLastAckMs),
    `${rotation.applied}/${rotation.expected}`,
    rotation.missing.join(","),
  ]);
  const { client } = report;
  const head = [
    "PROVIDER",
    "GENERATION",
    "REASON",
    "ISSUER CALLS",
    "LAST ACK AFTER",
    "APPLIED",
    "MISSING",
  ];
  return [
    table(head, rows),
    "\n",
    `agents                          ${report.agents}\n`,
    `issuer calls                    ${report.issuerCalls}\n`,
    `calls of the SDK client         ${client.calls}, ${client.failed} failed, under ${report.credentialsUsed} credentials\n`,
    `longest gap without credential  ${report.longestGapMs} ms\n`,
    `refused messages                ${report.refusedMessages}\n`,
    report.faults.length === 0
      ? "every agent applied every generation, and the client never stood without a credential\n"
      : report.faults.map((fault) => `NOT AS PROMISED: ${fault}\n`).join(""),
  ].join("");
}
