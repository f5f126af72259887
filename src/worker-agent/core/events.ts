/** What the machine hears and what it asks for. Outcomes name the attempt that they belong to. */
import type { Bundle } from "../../protocol/bundle.ts";
import type { Credential } from "../../protocol/credential.ts";
import type { ErrorCode } from "../../protocol/errors.ts";
import type { GroupKey } from "../../protocol/keys.ts";
import type { Version } from "../../protocol/names.ts";
import type { Notice } from "../../protocol/notice.ts";
import type { Report } from "../../protocol/report.ts";
import type { Secret } from "../../protocol/secret.ts";
import type { DurationMs, EpochMs, MonoMs } from "../../protocol/time.ts";
import type { ReceiverSpec } from "./settings.ts";

/** What a registration brings, boxed where it is secret. */
export interface Membership {
  readonly groups: readonly GroupKey[];
  readonly macKey: Uint8Array;
}

/** A credential and when it ends on this process's monotonic clock. */
export interface Held {
  readonly credential: Credential;
  /** At and after this reading it is handed out to nobody (I2). */
  readonly until: MonoMs;
  /** When the bundle that brought it arrived. */
  readonly arrivedAt: MonoMs;
}

export type AgentEvent =
  | { readonly kind: "wake" }
  /** Subscribed and flushed: what is broadcast from now on is heard. */
  | { readonly kind: "connected" }
  | { readonly kind: "disconnected" }
  | { readonly kind: "sealed"; readonly sealed: Uint8Array }
  | { readonly kind: "opened"; readonly attempt: number; readonly bundle: Bundle }
  | { readonly kind: "unopened"; readonly attempt: number; readonly code: ErrorCode }
  /** A message that was dropped before it reached the core. */
  | { readonly kind: "refused"; readonly code: ErrorCode }
  | { readonly kind: "notice"; readonly notice: Notice }
  | {
      readonly kind: "registered";
      readonly attempt: number;
      readonly term: number;
      readonly generation: number;
      readonly timeMs: number;
      readonly membership: Secret<Membership>;
      readonly ticket: string;
      readonly beatMs: number;
      readonly sealed: Uint8Array | undefined;
    }
  /** The coordinator said no (`byCoordinator`), or nobody answered. */
  | {
      readonly kind: "unregistered";
      readonly attempt: number;
      readonly code: ErrorCode;
      readonly byCoordinator: boolean;
    }
  | { readonly kind: "unreported"; readonly report: Report; readonly code: ErrorCode }
  /** `code` when it failed: the agent goes on with what it has in memory. */
  | { readonly kind: "persisted"; readonly attempt: number; readonly code: ErrorCode | undefined }
  | {
      readonly kind: "receiver";
      readonly receiver: string;
      readonly attempt: number;
      /** Of what it was asked to do; undefined: done and proved. */
      readonly code: ErrorCode | undefined;
    }
  /** A consumer's credential was rejected; `rejected` is its generation, 0 for none at all. */
  | { readonly kind: "demand"; readonly provider: string; readonly rejected: number }
  /** The last event: the agent is being stopped. */
  | { readonly kind: "leave" };

/** News for people and in-process consumers: logged, counted, handed to listeners. Never needed by the core. */
export type News =
  | { readonly kind: "joined"; readonly term: number; readonly skew: DurationMs }
  | { readonly kind: "not-joined"; readonly code: ErrorCode; readonly final: boolean }
  | { readonly kind: "accepted"; readonly version: Version; readonly providers: readonly string[] }
  | { readonly kind: "shortened"; readonly provider: string; readonly by: DurationMs }
  | { readonly kind: "refused"; readonly code: ErrorCode }
  | {
      readonly kind: "runway-low";
      readonly provider: string;
      readonly generation: number;
      readonly left: DurationMs;
    }
  | { readonly kind: "expired"; readonly provider: string; readonly generation: number }
  | { readonly kind: "withdrawn"; readonly provider: string; readonly generation: number }
  | {
      readonly kind: "applied";
      readonly receiver: ReceiverSpec;
      readonly generation: number;
      readonly took: DurationMs;
    }
  | { readonly kind: "receiver-failed"; readonly receiver: ReceiverSpec; readonly code: ErrorCode }
  | { readonly kind: "unpersisted"; readonly code: ErrorCode }
  | { readonly kind: "clocks-parted"; readonly by: DurationMs }
  | { readonly kind: "ended" };

export type AgentEffect =
  /** The last one: no event is heard any more. */
  | { readonly kind: "stop" }
  | {
      readonly kind: "register";
      readonly attempt: number;
      readonly ticket: string | undefined;
      readonly highest: Version;
      readonly receivers: readonly ReceiverSpec[];
    }
  | {
      readonly kind: "open";
      readonly attempt: number;
      readonly sealed: Uint8Array;
      readonly membership: Secret<Membership>;
      /** The coordinator's clock, as well as it is known. */
      readonly now: EpochMs;
      /** Older ones need not be opened: they are refused as MESSAGE_REPLAYED. */
      readonly floor: Version;
    }
  | {
      readonly kind: "report";
      readonly report: Report;
      readonly membership: Secret<Membership>;
    }
  | {
      readonly kind: "persist";
      readonly attempt: number;
      readonly ticket: string | undefined;
      readonly highest: Version;
    }
  | {
      readonly kind: "start";
      readonly receiver: string;
      readonly attempt: number;
      readonly spec: ReceiverSpec;
    }
  | {
      readonly kind: "apply";
      readonly receiver: string;
      readonly attempt: number;
      readonly held: Held;
    }
  | {
      readonly kind: "withdraw";
      readonly receiver: string;
      readonly attempt: number;
      readonly provider: string;
    }
  | { readonly kind: "tell"; readonly news: News };
