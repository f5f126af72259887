/** SPI: where audit events go. A sink that fails never holds up a renewal: it spools, bounded, and says so. */
import type { AuditEvent } from "../../protocol/audit.ts";
import type { Done } from "../../protocol/outcome.ts";

export interface AuditSink {
  record(event: AuditEvent): void;
  /** Waits until all that was recorded is stored, or gives up after its own bound. */
  close(done: Done<void>): void;
}
