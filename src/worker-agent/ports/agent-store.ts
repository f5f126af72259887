/** What outlives the agent's process, so that it rejoins as itself and never falls back (I1). No credential is in it. */
import type { SigningKey } from "../../protocol/keys.ts";
import type { Version } from "../../protocol/names.ts";
import type { Done } from "../../protocol/outcome.ts";
import type { Secret } from "../../protocol/secret.ts";

export interface AgentRecord {
  readonly tenant: string;
  readonly job: string;
  readonly agent: string;
  /** The agent's own key, which register requests are signed with. */
  readonly key: Secret<SigningKey>;
  readonly ticket: string | undefined;
  /** The highest bundle version that it has accepted or been told of. */
  readonly highest: Version;
}

export interface AgentStore {
  /** Undefined: nothing kept yet. Fails with FILE_UNUSABLE. */
  restore(done: Done<AgentRecord | undefined>): void;
  /** Done once it would survive the loss of power. Fails with FILE_UNUSABLE; never called twice at once. */
  persist(record: AgentRecord, done: Done<void>): void;
}
