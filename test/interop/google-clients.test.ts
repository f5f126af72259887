/**
 * Google's own clients, unmodified, on the metadata receiver: they find it by default credentials
 * alone, follow rotations without a failed call, and ask as often as their refresh windows say.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { googleWifProvider } from "../../src/coordinator/providers/google-wif/index.ts";
import type { GoogleEmulator } from "../../src/emulators/google/server.ts";
import { type Credential, GOOGLE_TOKEN } from "../../src/protocol/credential.ts";
import { durationMs, later } from "../../src/protocol/time.ts";
import { systemClock } from "../../src/runtime/system-clock.ts";
import { appliedTo } from "../../src/worker-agent/consumer/environment.ts";
import type { Serving } from "../../src/worker-agent/ports/credential-receiver.ts";
import { googleMetadataFactory } from "../../src/worker-agent/receivers/google-metadata/index.ts";
import {
  countingContext,
  recordingServices,
} from "../contract/support/credential-provider-contract.ts";
import { type ReceiverBench, receiverBench } from "../contract/support/receiver-bench.ts";
import { eventually } from "../support/eventually.ts";
import { startGooglePool } from "../support/google-pool.ts";
import { makeTls } from "../support/tls.ts";
import {
  type ClientProgram,
  GOOGLE_FOLDER,
  installGoogleClients,
  startClient,
  startNodeClient,
  startPubSubServer,
} from "./support/google-clients.ts";
import { type PythonTools, pythonTools } from "./support/python.ts";

let program: PythonTools["program"];
beforeAll(async () => {
  [{ program }] = await Promise.all([pythonTools("google"), installGoogleClients()]);
});

/** Below this much remaining life a client asks at every call. */
const WINDOW_MS = { python: 225_000, node: 300_000 } as const;

interface Rig {
  readonly google: GoogleEmulator;
  readonly bench: ReceiverBench;
  /** A consumer's whole environment; the machine's has another identity in every place that outranks ours. */
  readonly consumer: (more?: Record<string, string>) => Record<string, string>;
  /** Obtains a token that lives so long, as the coordinator does, and serves it. */
  rotate(lifetimeMs: number): Promise<void>;
}

interface RigOptions {
  /** In place of the provider's, which is known with the first token only. */
  readonly projectId?: string;
  /** Whether the home folder has credentials of gcloud's. Default true. */
  readonly strangerAtHome?: boolean;
}

async function startRig({ projectId, strangerAtHome = true }: RigOptions = {}): Promise<Rig> {
  const dir = await mkdtemp(join(tmpdir(), "evergrant google-clients-"));
  const { google, options } = await startGooglePool(dir);
  const provider = googleWifProvider.create(
    googleWifProvider.options.parse(options()),
    recordingServices(dir, []),
  );
  const bench = receiverBench(systemClock);
  const receiver = googleMetadataFactory.create(
    googleMetadataFactory.options.parse({ projectId }),
    bench.services,
  );
  const environment = await receiver.start();
  onTestFinished(async () => {
    await receiver.stop();
    await google.stop();
    await rm(dir, { recursive: true, force: true });
  });
  const home = join(bench.dir, "home");
  const gcloud = join(home, ".config", "gcloud");
  mkdirSync(gcloud, { recursive: true });
  if (strangerAtHome) {
    const stranger = { type: "authorized_user", client_id: "x", client_secret: "x" };
    const path = join(gcloud, "application_default_credentials.json");
    writeFileSync(path, JSON.stringify({ ...stranger, refresh_token: "x" }));
  }
  const base = {
    PATH: process.env["PATH"],
    HOME: home,
    GOOGLE_APPLICATION_CREDENTIALS: join(home, "key-of-somebody-else.json"),
    NO_GCE_CHECK: "true",
    HTTP_PROXY: "http://127.0.0.1:9",
    http_proxy: "http://127.0.0.1:9",
  };
  let generation = 0;
  return {
    google,
    bench,
    consumer: (more = {}) => ({
      ...appliedTo(base, environment),
      STORE_URL: google.url,
      ...more,
    }),
    async rotate(lifetimeMs) {
      google.knobs.lifetimeMs = lifetimeMs;
      const obtained = await provider.obtain(countingContext());
      generation += 1;
      await receiver.apply(
        servingOf(obtained.material, obtained.attributes, generation, lifetimeMs),
      );
    },
  };
}

function servingOf(
  material: Credential["material"],
  attributes: Credential["attributes"],
  generation: number,
  lifetimeMs: number,
): Serving {
  const { wall, mono } = systemClock.now();
  const lifetime = durationMs(lifetimeMs);
  const credential = {
    ...{ provider: "lake", kind: GOOGLE_TOKEN, generation, material, attributes },
    ...{ issuedAt: wall, expiresAt: later(wall, lifetime), issuerSkew: durationMs(0) },
  };
  return { credential, until: later(mono, lifetime) };
}

const clients = {
  python: (rig: Rig) =>
    startClient(program("python"), [join(GOOGLE_FOLDER, "storage_client.py")], rig.consumer()),
  node: (rig: Rig) => startNodeClient("storage-client.mjs", rig.consumer()),
} satisfies Record<string, (rig: Rig) => ClientProgram>;

describe.each(["python", "node"] as const)("the storage client of %s", (client) => {
  test("outside of its window one token serves all calls; it is asked for again when the window opens", async () => {
    const rig = await startRig();
    const window = WINDOW_MS[client];
    await rig.rotate(window + 10_000);
    const program = clients[client](rig);
    const served = () => rig.bench.count("served");
    for (let rotation = 1; rotation <= 6; rotation += 1) {
      // Applied while the client holds the former one: it asks when that comes into its window. That this one
      // lives longer than the first leaves 4 s at least from there to its own window, each time.
      if (rotation > 1) await rig.rotate(window + 14_000);
      const before = served();
      await eventually(async () => {
        const { errors } = await program.work(1);
        expect(errors).toEqual([]);
        return served() > before;
      });
      // Python's refreshes on two threads when a call finds none.
      expect(served() - before).toBeLessThanOrEqual(client === "python" ? 2 : 1);
      const asked = served();
      expect(await program.work(10)).toEqual({ ok: 10, errors: [] });
      expect(served()).toBe(asked);
    }
    expect(rig.google.count("resource")).toBe(rig.google.count("resource", "ok"));
    expect(rig.google.count("exchange")).toBe(6);
  });

  test("inside of its window it asks at every call, and always gets what is held", async () => {
    const rig = await startRig();
    await rig.rotate(60_000);
    const program = clients[client](rig);
    for (let rotation = 0; rotation < 5; rotation += 1) {
      expect(await program.work(3)).toEqual({ ok: 3, errors: [] });
      await rig.rotate(60_000);
    }
    expect(rig.bench.count("served")).toBeGreaterThanOrEqual(15);
    expect(rig.google.count("exchange")).toBe(6);
  });

  test("without a token it gets an error, and nobody else's identity", async () => {
    const rig = await startRig({ projectId: "acme-data" });
    const program = clients[client](rig);
    const { ok, errors } = await program.work(1);
    expect([ok, errors.length]).toEqual([0, 1]);
    expect(rig.google.count("resource", "ok")).toBe(0);
  });
});

test("the Pub/Sub client of Node.js publishes and gets its messages over gRPC through five rotations", async () => {
  // Its google-auth-library is older than 10.9 and does not know CLOUDSDK_CONFIG.
  const rig = await startRig({ strangerAtHome: false });
  const tls = makeTls();
  const server = await startPubSubServer(`${rig.google.url}/tokeninfo`, tls);
  await rig.rotate(60_000);
  const client = startNodeClient(
    "pubsub-client.mjs",
    rig.consumer({
      PUBSUB_URL: server.address,
      GRPC_DEFAULT_SSL_ROOTS_FILE_PATH: tls.caFile,
    }),
  );
  for (let rotation = 1; rotation <= 5; rotation += 1) {
    const asked = rig.bench.count("served");
    expect(await client.work(5)).toEqual({ ok: 5, errors: [] });
    // Inside of its window: at each call.
    expect(rig.bench.count("served") - asked).toBeGreaterThanOrEqual(5);
    await rig.rotate(60_000);
  }
  expect(server.refused).toEqual([]);
  expect(rig.google.count("exchange")).toBe(6);
});
