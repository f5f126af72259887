/** Private servers, an STS emulator and a job's configuration on them, in a folder that goes at the end. */
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type EmbeddedServers, startEmbedded } from "../../src/embedded/embedded-servers.ts";
import { type StsEmulator, startStsEmulator } from "../../src/emulators/aws-sts/server.ts";
import { Secret } from "../../src/protocol/secret.ts";
import { systemClock, systemRandom } from "../../src/runtime/system-clock.ts";

export interface Stand {
  readonly dir: string;
  readonly sts: StsEmulator;
  readonly servers: EmbeddedServers;
  /** A job of one AWS session. @returns the path of its configuration */
  job(name: string): Promise<string>;
  stop(): Promise<void>;
}

export async function startStand(): Promise<Stand> {
  const dir = await mkdtemp(join(tmpdir(), "evergrant-bench-"));
  const sts = await startStsEmulator({
    clock: systemClock,
    random: systemRandom,
    knobs: { lifetimeMs: 3_600_000 },
  });
  process.env["AWS_ACCESS_KEY_ID"] = sts.baseCredentials.accessKeyId;
  process.env["AWS_SECRET_ACCESS_KEY"] = sts.baseCredentials.secretAccessKey.reveal();
  const servers = await startEmbedded({
    runDir: join(dir, "servers"),
    clock: systemClock,
    random: systemRandom,
    users: [{ user: "bench", password: new Secret("bench") }],
  });
  // Stopped from outside: the private servers end with it.
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.once(signal, () => void servers.stop().finally(() => process.exit(1)));
  }
  const login = "user: bench, password: bench";
  return {
    dir,
    sts,
    servers,
    async job(name) {
      const folder = join(dir, name);
      await mkdir(folder);
      const file = join(folder, "job.yaml");
      await writeFile(
        file,
        `job: ${name}
nats: {servers: ["${servers.nats.url}"], ${login}, agents: {${login}}, operators: {${login}}}
redis: {url: "${servers.redis.url.reveal()}"}
log: {level: error}
timing: {cooldownFirstSec: 0.1, cooldownMaxSec: 0.1}
providers:
  - {name: lake, kind: aws-sts, action: AssumeRole, roleArn: "arn:aws:iam::123456789012:role/lake", region: eu-west-1, durationSec: 3600, endpoint: "${sts.url}"}
`,
      );
      return file;
    },
    async stop() {
      await servers.stop();
      await sts.stop();
      await rm(dir, { recursive: true, force: true });
    },
  };
}
