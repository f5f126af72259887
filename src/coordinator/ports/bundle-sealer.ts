/** Sealing as a port: promise order inside crypto libraries can't be replayed, a stand-in's can. */
import type { Bundle } from "../../protocol/bundle.ts";
import type { Done } from "../../protocol/outcome.ts";

export interface BundleSealer {
  /** Seals under the group key of `kid`. Fails with MESSAGE_TOO_LARGE. */
  seal(bundle: Bundle, kid: string, done: Done<Uint8Array>): void;
}
