/** Connecting: patience at start, plain words when it ends, events that harm nobody, a close in bounded time. */
import { generateKeyPairSync } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createUser } from "@nats-io/nkeys";
import { afterAll, describe, expect, it } from "vitest";
import { accessFromBroker } from "../../../src/nats/access.ts";
import type { BrokerEvent } from "../../../src/nats/broker-events.ts";
import { accessFromConfig, natsConfigSchema } from "../../../src/nats/config.ts";
import { type Broker, type ConnectNatsOptions, connectNats } from "../../../src/nats/connect.ts";
import type { EvergrantError } from "../../../src/protocol/errors.ts";
import { permissionsOf } from "../../../src/protocol/permissions.ts";
import { durationMs, seconds } from "../../../src/protocol/time.ts";
import { systemClock } from "../../../src/runtime/system-clock.ts";
import { countingClock } from "../../support/counting-clock.ts";
import { startNats, type TestServer } from "../../support/servers.ts";
import { makeTls } from "../../support/tls.ts";

const id = { tenant: "t", job: "j" };
const brokers: Broker[] = [];
const dir = mkdtempSync(join(tmpdir(), "evergrant-connect-"));
afterAll(async () => {
  await Promise.all(brokers.map((broker) => broker.close()));
  rmSync(dir, { recursive: true });
});

const options = (url: string, over: Partial<ConnectNatsOptions> = {}): ConnectNatsOptions => ({
  role: "coordinator",
  id,
  name: "c1",
  access: accessFromBroker({ servers: [url] }),
  clock: systemClock,
  startTimeout: seconds(10),
  retryPause: durationMs(50),
  pace: { reconnectTimeWait: 50, reconnectJitter: 10 },
  ...over,
});
async function open(given: ConnectNatsOptions): Promise<Broker> {
  const broker = await connectNats(given);
  brokers.push(broker);
  return broker;
}
/** Collects events; `until` waits for the first that fits. */
function recorder() {
  const events: BrokerEvent[] = [];
  let wake: (() => void) | undefined;
  return {
    events,
    onEvent: (event: BrokerEvent) => {
      events.push(event);
      wake?.();
    },
    until: async (fits: (event: BrokerEvent) => boolean): Promise<BrokerEvent> => {
      for (;;) {
        const found = events.find(fits);
        if (found !== undefined) return found;
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    },
  };
}
const failure = (promise: Promise<unknown>): Promise<EvergrantError> =>
  promise.then(
    () => {
      throw new Error("succeeded");
    },
    (error: EvergrantError) => error,
  );
const user = (name: string, password: string) => ({
  user: name,
  password,
  permissions: permissionsOf("coordinator", id, "c1"),
});

describe("the first connect", () => {
  it("waits for a server that comes later, saying so", async () => {
    const server = await startNats();
    await server.stop();
    const { events, onEvent, until } = recorder();
    const connecting = open(options(server.url, { onEvent }));
    await until((event) => event.kind === "waiting");
    await server.restart();
    const broker = await connecting;
    expect(broker.connected()).toBe(true);
    expect(events.at(-1)).toEqual({ kind: "connected", again: false });
    await server.kill();
  });

  it("gives up after its time, naming the address and the last reason", async () => {
    const server = await startNats();
    await server.kill();
    const error = await failure(open(options(server.url, { startTimeout: durationMs(2000) })));
    expect(error.code).toBe("START_TIMEOUT");
    expect(error.message).toContain(server.url);
    expect((error.cause as EvergrantError).code).toBe("BROKER_UNAVAILABLE");
  });

  it("gives up on a server that accepts and never answers", async () => {
    const server = await startNats();
    server.freeze();
    const began = performance.now();
    const error = await failure(open(options(server.url, { startTimeout: durationMs(500) })));
    server.thaw();
    expect(error.code).toBe("START_TIMEOUT");
    expect(performance.now() - began).toBeLessThan(5000);
    await server.kill();
  });

  it.each(["refuses", "does not answer"])(
    "is given up at once when it is aborted, and leaves no timer, where the server %s",
    async (how) => {
      const server = await startNats();
      if (how === "refuses") await server.kill();
      else server.freeze();
      const { clock, pending } = countingClock();
      const closing = new AbortController();
      const { onEvent, until } = recorder();
      const connecting = failure(
        open(
          options(server.url, {
            clock,
            onEvent,
            signal: closing.signal,
            retryPause: seconds(60),
            startTimeout: seconds(600),
          }),
        ),
      );
      if (how === "refuses") await until((event) => event.kind === "waiting");
      closing.abort();
      expect((await connecting).code).toBe("BROKER_UNAVAILABLE");
      expect(pending()).toBe(0);
      if (how !== "refuses") server.thaw();
      await server.kill();
    },
  );

  it("a login that is refused is retried, and never shown", async () => {
    const server = await startNats({ users: [user("c", "right-word")] });
    const { events, onEvent } = recorder();
    const access = accessFromBroker({ servers: [server.url], user: "c", password: "wrong-word" });
    const error = await failure(
      open(options(server.url, { access, onEvent, startTimeout: seconds(4) })),
    );
    expect(error.code).toBe("START_TIMEOUT");
    expect(error.message).toContain("refuses the login");
    expect(events.length).toBeGreaterThan(1);
    expect(JSON.stringify(events) + error.stack).not.toContain("wrong-word");
    await server.kill();
  });

  it("a server without JetStream is unfit for a coordinator at once, and fit for an agent", async () => {
    const server = await startNats({ jetstream: false });
    const error = await failure(open(options(server.url)));
    expect(error.code).toBe("BROKER_UNFIT");
    expect(error.message).toContain("JetStream");
    const agent = await open(options(server.url, { role: "agent" }));
    expect(agent.connected()).toBe(true);
    await server.kill();
  });

  it("a server without TLS is refused where TLS is wanted", async () => {
    const server = await startNats();
    for (const servers of [[server.url.replace("nats:", "tls:")], [server.url]]) {
      const access = accessFromBroker({ servers, caPem: "-----BEGIN CERTIFICATE-----" });
      const error = await failure(
        open(options(server.url, { access, startTimeout: durationMs(300) })),
      );
      expect(error.code).toBe("START_TIMEOUT");
    }
    await server.kill();
  });
});

describe("TLS", () => {
  it("serves by files and by PEM text, wants the client's certificate, and refuses a stranger's authority", async () => {
    const files = makeTls();
    const server = await startNats({ tls: files, verifyClients: true });
    const config = {
      caFile: files.caFile,
      certFile: files.clientCertFile,
      keyFile: files.clientKeyFile,
    };
    const byFile = await open(
      options(server.url, {
        access: accessFromConfig(
          natsConfigSchema.parse({ servers: [server.url], tls: config }),
          "/",
        ),
      }),
    );
    expect(byFile.connected()).toBe(true);
    const pem = (path: string) => readFileSync(path, "utf8");
    const text = {
      servers: [server.url],
      caPem: pem(files.caFile),
      certPem: pem(files.clientCertFile),
      keyPem: pem(files.clientKeyFile),
    };
    const byText = await open(options(server.url, { access: accessFromBroker(text) }));
    expect(byText.connected()).toBe(true);
    const bare = { servers: text.servers, caPem: text.caPem };
    const stranger = { ...text, caPem: pem(makeTls().caFile) };
    for (const access of [bare, stranger]) {
      const refused = options(server.url, {
        access: accessFromBroker(access),
        startTimeout: durationMs(600),
      });
      expect((await failure(open(refused))).code).toBe("START_TIMEOUT");
    }
    await server.kill();
  });
});

describe("the ways to log in", () => {
  it("by an nkey, and by a password file that is read again at each reconnect", async () => {
    const nkey = createUser();
    const { publish, subscribe } = permissionsOf("agent", id, "c1");
    const server = await startNats();
    const withUsers = (password: string) => {
      const users = [
        { user: "c", password },
        { nkey: nkey.getPublicKey(), permissions: { publish, subscribe } },
      ];
      const text = readFileSync(server.configFile, "utf8").replace(/^authorization:.*\n/m, "");
      writeFileSync(server.configFile, `${text}authorization: ${JSON.stringify({ users })}\n`);
    };
    withUsers("first");
    await server.restart();
    writeFileSync(join(dir, "seed"), nkey.getSeed());
    writeFileSync(join(dir, "password"), "first\n");
    const parse = (login: object) =>
      accessFromConfig(natsConfigSchema.parse({ servers: [server.url], ...login }), dir);
    const byKey = await open(
      options(server.url, { role: "agent", access: parse({ nkeySeedFile: "seed" }) }),
    );
    expect(byKey.connected()).toBe(true);

    const { onEvent, until } = recorder();
    const byFile = await open(
      options(server.url, { access: parse({ user: "c", passwordFile: "password" }), onEvent }),
    );
    withUsers("second");
    await server.restart();
    await until((event) => event.kind === "fault" && event.fault.kind === "login");
    writeFileSync(join(dir, "password"), "second\n");
    await until((event) => event.kind === "connected" && event.again);
    expect(byFile.connected()).toBe(true);
    await server.kill();
  });

  it("a missing password file is told by its name", async () => {
    const server = await startNats();
    const access = accessFromConfig(
      natsConfigSchema.parse({ servers: [server.url], user: "c", passwordFile: "absent" }),
      dir,
    );
    const error = await failure(open(options(server.url, { access })));
    expect(error.code).toBe("FILE_UNUSABLE");
    expect(error.message).toContain("absent");
    await server.kill();
  });

  it("keys in text are kept in boxes", () => {
    const pem = generateKeyPairSync("ed25519").privateKey.export({ type: "pkcs8", format: "pem" });
    const access = accessFromBroker({ servers: ["tls://h:1"], keyPem: String(pem), certPem: "x" });
    expect(JSON.stringify(access)).not.toContain("PRIVATE");
  });
});

describe("what happens later", () => {
  it("a loss, a return and a refused subject are told, and a listener that throws harms nobody", async () => {
    const server: TestServer = await startNats({ users: [user("c", "c")] });
    const { events, onEvent, until } = recorder();
    const broker = await open(
      options(server.url, {
        access: accessFromBroker({ servers: [server.url], user: "c", password: "c" }),
        onEvent: () => {
          throw new Error("a fault of the listener");
        },
      }),
    );
    broker.listen(onEvent);
    broker.nc.publish("not.mine", "x");
    await until((event) => event.kind === "fault");
    await server.kill();
    await until((event) => event.kind === "disconnected");
    expect(broker.connected()).toBe(false);
    await server.restart();
    await until((event) => event.kind === "connected" && event.again);
    expect(broker.connected()).toBe(true);
    await broker.close();
    await until((event) => event.kind === "closed");
    expect(events[0]).toEqual({
      kind: "fault",
      fault: { kind: "permission", operation: "publish", subject: "not.mine" },
    });
    expect(events.at(-1)).toEqual({ kind: "closed", error: undefined });
    await server.kill();
  });

  it("a frozen server is noticed by its silence, and close ends in bounded time all the same", async () => {
    const server = await startNats();
    const { onEvent, until } = recorder();
    const broker = await open(
      options(server.url, { onEvent, pace: { pingInterval: 200, maxPingOut: 1 } }),
    );
    server.freeze();
    await until((event) => event.kind === "fault" && event.fault.kind === "stale");
    const began = performance.now();
    await broker.close(durationMs(500));
    expect(performance.now() - began).toBeLessThan(10_000);
    expect(broker.connected()).toBe(false);
    server.thaw();
    await server.kill();
  });
});
