/** Names of tenants, jobs, agents and providers: safe as NATS subject tokens, file names and labels. */
import * as z from "zod";

export const NAME_PATTERN = /^[A-Za-z0-9_-]{1,64}$/;

export const nameSchema = z
  .string()
  .regex(NAME_PATTERN, "expected 1 to 64 of A-Z a-z 0-9 _ -")
  .describe("1 to 64 characters of A-Z a-z 0-9 _ -");

/** Which job: the two name parts of every subject and key. */
export interface JobId {
  readonly tenant: string;
  readonly job: string;
}

/** Which agent process: a stable name and an id that is random in every process. */
export interface AgentId {
  readonly agent: string;
  readonly instance: string;
}

/** Order of bundles: the term first, then the generation. Nothing else decides which is newer. */
export interface Version {
  readonly term: number;
  readonly generation: number;
}

/** Negative when `a` is older than `b`, 0 when equal, positive when newer. */
export function compareVersions(a: Version, b: Version): number {
  return a.term === b.term ? a.generation - b.generation : a.term - b.term;
}

export const sameJob = (a: JobId, b: JobId): boolean => a.tenant === b.tenant && a.job === b.job;
