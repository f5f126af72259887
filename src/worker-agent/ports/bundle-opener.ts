/** Verifies, judges and decrypts a sealed bundle in one call. */
import type { Bundle } from "../../protocol/bundle.ts";
import type { GroupKey } from "../../protocol/keys.ts";
import type { Version } from "../../protocol/names.ts";
import type { Done } from "../../protocol/outcome.ts";
import type { EpochMs } from "../../protocol/time.ts";

export interface OpenWith {
  readonly groups: readonly GroupKey[];
  /** The coordinator's clock, as well as it is known. */
  readonly now: EpochMs;
  /** What is older is refused before it is decrypted. */
  readonly floor: Version;
}

export interface BundleOpener {
  /**
   * Fails with MESSAGE_TOO_LARGE, MESSAGE_FORGED, MESSAGE_MALFORMED, MESSAGE_FOR_OTHER_JOB,
   * MESSAGE_EXPIRED, MESSAGE_REPLAYED (below `floor`), KEY_UNKNOWN.
   */
  open(sealed: Uint8Array, using: OpenWith, done: Done<Bundle>): void;
}
