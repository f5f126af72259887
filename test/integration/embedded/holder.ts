/** A process of its own that holds embedded servers until it is killed; for the tests beside it. */
import { startEmbedded } from "../../../src/embedded/embedded-servers.ts";
import { systemClock, systemRandom } from "../../../src/runtime/system-clock.ts";

const [runDir = ""] = process.argv.slice(2);
const servers = await startEmbedded({
  runDir,
  clock: systemClock,
  random: systemRandom,
  users: [{ user: "all" }],
});
process.on("SIGTERM", () => void servers.stop().then(() => process.exit(0)));
process.stdin.resume();
// Last, since whoever reads it may end this process at once.
process.stdout.write(
  `${JSON.stringify({ nats: servers.nats.pid(), redis: servers.redis.pid() })}\n`,
);
