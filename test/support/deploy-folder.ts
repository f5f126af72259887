/**
 * deploy/ as an operator has it: a copy in a folder of its own in which make-secrets.sh has run, and
 * the two stores that it configures, started on its files as they are. Owns their ports and data.
 */
import { execFile } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { promisify } from "node:util";
import { expect } from "vitest";
import { freePort } from "../../src/embedded/answers.ts";
import { atLeast, type FoundServer, findServer } from "../../src/embedded/find-server.ts";
import { eventually } from "./eventually.ts";
import { type EvergrantProcess, startProcess } from "./evergrant-process.ts";
import { ROOT } from "./packed-package.ts";

export interface DeployFolder {
  readonly dir: string;
  /** What make-secrets.sh wrote into this file. */
  secret(name: string): string;
  /** The environment that nats-server.conf asks for. */
  natsEnv(listen: string): Record<string, string>;
  remove(): void;
}

/** Makes the copy. No blank in its path: NATS reads paths from variables as words. */
export async function deployFolder(): Promise<DeployFolder> {
  const dir = join(mkdtempSync(join(tmpdir(), "evergrant-deploy-")), "deploy");
  cpSync(join(ROOT, "deploy"), dir, {
    recursive: true,
    filter: (path) => !["secrets", "spark"].includes(basename(path)),
  });
  const command = `${process.execPath} -- ${join(ROOT, "bin/evergrant.mjs")}`;
  await promisify(execFile)(join(dir, "make-secrets.sh"), [], {
    env: { ...process.env, EVERGRANT: command },
  });
  const secret = (name: string): string => readFileSync(join(dir, "secrets", name), "utf8");
  return {
    dir,
    secret,
    natsEnv: (listen) => ({
      ...Object.fromEntries(
        secret("nats.env")
          .trim()
          .split("\n")
          .map((line) => line.split("=") as [string, string]),
      ),
      EVERGRANT_NATS_LISTEN: listen,
      EVERGRANT_NATS_STORE: join(dir, "jetstream"),
      EVERGRANT_NATS_TLS_CERT: join(dir, "secrets/nats.pem"),
      EVERGRANT_NATS_TLS_KEY: join(dir, "secrets/nats.key"),
    }),
    remove: () => rmSync(join(dir, ".."), { recursive: true, force: true }),
  };
}

/** What durability.conf tells operators to do for servers of 2.10 and newer. */
export function forNatsOf210(natsFolder: string): void {
  cpSync(join(natsFolder, "durability-2.10.conf"), join(natsFolder, "durability.conf"));
}

export interface DeployStores {
  readonly folder: DeployFolder;
  readonly natsPort: number;
  readonly redisPort: number;
  readonly nats: EvergrantProcess;
  /** Ends both; before the folder with their data goes. */
  stop(): Promise<void>;
}

/**
 * Starts both stores as deploy/ says for a NATS of this version; they end with the test file.
 *
 * @param natsArgs further arguments of nats-server, after its configuration.
 */
export async function startDeployStores(
  folder: DeployFolder,
  natsServer: FoundServer,
  natsArgs: readonly string[] = [],
): Promise<DeployStores> {
  const { dir } = folder;
  const [natsPort, redisPort] = [await freePort(), await freePort()];
  const file = (name: string): string => join(dir, "secrets", name);
  if (atLeast(natsServer.version, 2, 10)) forNatsOf210(join(dir, "nats"));
  const nats = startProcess(
    natsServer.path,
    ["-c", join(dir, "nats/nats-server.conf"), ...natsArgs],
    { cwd: dir, env: folder.natsEnv(`127.0.0.1:${natsPort}`) },
  );
  mkdirSync(join(dir, "redis-data"));
  const redis = startProcess(
    (await findServer("redis-server")).path,
    [
      join(dir, "redis/redis.conf"),
      ...["--bind", "127.0.0.1", "--tls-port", String(redisPort)],
      ...["--dir", join(dir, "redis-data")],
      ...["--aclfile", file("users.acl"), "--tls-ca-cert-file", file("ca.pem")],
      ...["--tls-cert-file", file("redis.pem"), "--tls-key-file", file("redis.key")],
    ],
    { cwd: dir },
  );
  await eventually(() => nats.stderr().includes("Server is ready") || !nats.running);
  await eventually(() => redis.stdout().includes("Ready to accept connections") || !redis.running);
  expect([nats.running, redis.running], nats.stderr() + redis.stdout()).toEqual([true, true]);
  const stop = async (): Promise<void> => {
    for (const server of [nats, redis]) server.signal("SIGTERM");
    await Promise.all([nats.ended, redis.ended]);
  };
  return { folder, natsPort, redisPort, nats, stop };
}
