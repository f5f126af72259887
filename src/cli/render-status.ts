/** The job's status and its agents as text for people. Pure: no terminal, no clock. */
import type {
  AgentStatus,
  JobStatus,
  ProviderStatus,
  RotationStatus,
} from "../protocol/control.ts";
import { howLong, table } from "./table.ts";

/** How many of the last rotations are shown. */
const SHOWN_ROTATIONS = 10;

export function renderStatus(status: JobStatus): string {
  const { agents } = status;
  const parts = [
    `${status.tenant}/${status.job}: ${status.ready ? "ready" : "not ready"}, ${status.phase}, term ${status.term}, generation ${status.generation}\n`,
    ...status.reasons.map((reason) => `  not ready: ${reason}\n`),
    ...status.warnings.map((warning) => `  warning: ${warning}\n`),
    `agents: ${agents.live} live (${agents.upToDate} up to date), ${agents.lost} lost\n`,
  ];
  const refused = refusals(status.refused);
  if (refused !== "") parts.push(`refused messages: ${refused}\n`);
  parts.push("\n", providerTable(status.providers));
  if (status.rotations.length > 0) parts.push("\n", rotationTable(status.rotations));
  return parts.join("");
}

function providerTable(providers: readonly ProviderStatus[]): string {
  return table(
    ["PROVIDER", "KIND", "STATE", "GENERATION", "RUNWAY", "NEXT", "CALLS", "LAST ERROR"],
    providers.map((p) => [
      p.provider,
      p.kind,
      p.state,
      String(p.generation),
      howLong(p.runwayMs),
      howLong(p.nextAttemptInMs),
      String(p.issuerCalls),
      p.lastError === undefined ? "" : p.lastError.message,
    ]),
  );
}

function rotationTable(rotations: readonly RotationStatus[]): string {
  return table(
    ["ROTATION", "PROVIDERS", "REASON", "STATE", "APPLIED", "LAST ACK", "MISSING"],
    rotations
      .slice(-SHOWN_ROTATIONS)
      .map((r) => [
        r.id,
        r.providers.join(","),
        r.reason,
        r.state,
        String(r.applied),
        howLong(r.publishToLastAckMs),
        missingOf(r),
      ]),
  );
}

export function renderAgents(agents: readonly AgentStatus[]): string {
  if (agents.length === 0) return "no agent has registered\n";
  return table(
    ["AGENT", "INSTANCE", "STATE", "GENERATION", "RUNWAY", "HEARD", "RECEIVERS", "FAILING"],
    agents.map((a) => [
      a.agent,
      a.instance,
      a.state,
      String(a.generation),
      howLong(a.runwayMs),
      `${howLong(a.lastHeardMs)} ago`,
      a.receivers.map((r) => `${r.kind}/${r.provider}`).join(","),
      Object.entries(a.failing)
        .map(([receiver, code]) => `${receiver} ${code}`)
        .join(","),
    ]),
  );
}

/** The names that the coordinator gave, and how many more there are. */
export function missingOf({ missing, missingCount }: RotationStatus): string {
  const more = (missingCount ?? missing.length) - missing.length;
  return [...missing, ...(more > 0 ? [`and ${more} more`] : [])].join(", ");
}

/** One sentence on how a rotation ended or stands. */
export function renderRotation(rotation: RotationStatus): string {
  const what = `rotation ${rotation.id} of ${rotation.providers.join(", ")}`;
  switch (rotation.state) {
    case "done": {
      const gone = rotation.missing.length === 0 ? "" : `; lost: ${missingOf(rotation)}`;
      return `${what} is done: generation ${rotation.generation}, applied by ${rotation.applied} agent(s)${gone}\n`;
    }
    case "failed":
      return `${what} has failed: ${rotation.error ?? "no reason is given"}\n`;
    case "delivering":
      return `${what} is on its way: generation ${rotation.generation}, applied by ${rotation.applied}, missing ${missingOf(rotation) || "none"}\n`;
    case "pending":
    case "obtaining": {
      const error = rotation.error === undefined ? "" : `: ${rotation.error}`;
      return `${what} is accepted, nothing is obtained yet${error}\n`;
    }
  }
}

function refusals(refused: Readonly<Record<string, number>>): string {
  return Object.entries(refused)
    .map(([code, count]) => `${count} ${code}`)
    .join(", ");
}
