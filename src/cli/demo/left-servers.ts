/** What a coordinator that had to be killed has left behind. Owns the certainty that it is the demo's own. */
import { commandLine, signal } from "../../embedded/processes.ts";
import { readServersFile } from "../../embedded/servers-file.ts";

/** Ends the embedded servers of a run folder that still run. Never throws. */
export function endLeftServers(runDir: string): void {
  try {
    const servers = readServersFile(runDir);
    for (const pid of [servers?.nats.pid, servers?.redis.pid]) {
      // Process ids are used again: only one whose command names this folder is meant.
      if (pid !== undefined && commandLine(pid)?.includes(runDir)) signal(pid, "SIGTERM");
    }
  } catch {
    // An unreadable file names nobody.
  }
}
