/**
 * deploy/nats on a server of the present line, with the include that it ships for 2.10 and newer. The
 * distribution's 2.9 has the same suites in test/system/deploy.test.ts.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parse } from "yaml";
import { freePort } from "../../src/embedded/answers.ts";
import {
  type DeployFolder,
  type DeployStores,
  deployFolder,
  startDeployStores,
} from "../support/deploy-folder.ts";
import { deployJobSuite } from "../support/deploy-job-suite.ts";
import { deployNatsSuite } from "../support/deploy-nats-suite.ts";
import { ROOT } from "../support/packed-package.ts";
import { NEWER_NATS, newerNats } from "./support/nats-newer.ts";

/** The first build fetches ten modules and compiles them: minutes on a busy machine. */
const BUILD_TIMEOUT_MS = 1_200_000;

describe(`the shipped configurations on nats-server ${NEWER_NATS}`, () => {
  let folder: DeployFolder;
  let stores: DeployStores;
  let monitorPort: number;
  beforeAll(async () => {
    const server = await newerNats();
    folder = await deployFolder();
    monitorPort = await freePort();
    stores = await startDeployStores(folder, server, ["-m", String(monitorPort)]);
  }, BUILD_TIMEOUT_MS);
  afterAll(async () => {
    await stores?.stop();
    folder?.remove();
  });

  it("are understood: TLS, users, and every acknowledged write on disk", async () => {
    const answer = await fetch(`http://127.0.0.1:${monitorPort}/varz`);
    expect(await answer.json()).toMatchObject({
      version: NEWER_NATS,
      server_name: "evergrant-nats",
      auth_required: true,
      tls_required: true,
      max_payload: 1024 * 1024,
      max_connections: 65_536,
      jetstream: {
        config: { sync_always: true, store_dir: join(folder.dir, "jetstream/jetstream") },
      },
    });
  });

  deployJobSuite(() => stores);
  deployNatsSuite(() => stores);

  it("are run on the server that operators are told of, of compose.yaml's line and with its include", () => {
    const { services } = parse(readFileSync(join(ROOT, "deploy/compose.yaml"), "utf8"), {
      merge: true,
    });
    const line = NEWER_NATS.split(".").slice(0, 2).join(".");
    expect(services.nats.image).toBe(`nats:${line}-alpine`);
    expect(services.nats.volumes).toContain(
      "./nats/durability-2.10.conf:/etc/nats/durability.conf:ro",
    );
    expect(readFileSync(join(ROOT, "docs/operations.md"), "utf8")).toContain(` ${NEWER_NATS} `);
  });
});
