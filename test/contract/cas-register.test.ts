import { natsRegister } from "../../src/coordinator/adapters/nats-register/nats-register.ts";
import { accessFromBroker } from "../../src/nats/access.ts";
import { type Broker, connectNats } from "../../src/nats/connect.ts";
import { type BucketKind, openBucket } from "../../src/nats/nats-kv.ts";
import type { Done } from "../../src/protocol/outcome.ts";
import { durationMs } from "../../src/protocol/time.ts";
import { systemClock } from "../../src/runtime/system-clock.ts";
import { Chance } from "../simulation/chance.ts";
import { CALM, SimNats, type Weather } from "../simulation/sim-nats.ts";
import { SimNode } from "../simulation/sim-node.ts";
import { Timeline } from "../simulation/timeline.ts";
import { MemoryStore } from "../support/memory-register.ts";
import { startNats } from "../support/servers.ts";
import { casRegisterContract, type RegisterRig } from "./support/cas-register-contract.ts";

casRegisterContract("the register in memory", async () => {
  const store = new MemoryStore();
  return {
    open: async (key) => store.register(key),
    freeze: () => store.freeze(),
    thaw: () => store.up(),
    wipe: async () => store.wipe(),
    close: async () => undefined,
  };
});

/** The register of the simulation. Its time goes on for as long as somebody waits for an outcome. */
function simulatedRig(weather: Weather): RegisterRig {
  const timeline = new Timeline();
  const chance = new Chance(1);
  const nats = new SimNats(timeline, chance, 1);
  nats.weather = weather;
  let nodes = 0;
  let waiting = 0;
  const advance = (): void => {
    // The whole of it: nothing in this world waits for anything outside of it.
    const outside = [...timeline.runUntil(Number.POSITIVE_INFINITY, () => waiting === 0)];
    if (waiting > 0 || outside.length > 0) throw new Error("a call was never answered");
  };
  const promised = <T>(call: (done: Done<T>) => void, done: Done<T>): void => {
    waiting += 1;
    // Not before all calls that are made at once are there.
    if (waiting === 1) setImmediate(advance);
    call((outcome) => {
      waiting -= 1;
      done(outcome);
    });
  };
  return {
    open: async (key) => {
      nodes += 1;
      const node = new SimNode(`process-${nodes}`, timeline, chance);
      node.boot();
      nats.connect(node, () => undefined);
      const register = nats.register<Uint8Array>(key, node);
      return {
        read: (done) => promised(register.read, done),
        write: (expected, value, done) =>
          promised((back) => register.write(expected, value, back), done),
        remove: (done) => promised(register.remove, done),
      };
    },
    freeze: () => nats.freeze(),
    thaw: () => nats.up(),
    wipe: async () => {
      nats.down();
      nats.wipe();
      nats.up();
    },
    close: async () => undefined,
  };
}

casRegisterContract("the register of the simulation", async () => simulatedRig({ ...CALM }));
// The longest way there and back is within what a request waits for.
const ROUGH: Weather = { loss: 0, doubling: 0.5, latency: 900 };
casRegisterContract(
  "the register of the simulation, with messages late, doubled and overtaken,",
  async () => simulatedRig(ROUGH),
);

const KINDS: readonly BucketKind[] = ["lease", "state", "bundle"];
for (const kind of KINDS) {
  casRegisterContract(`the register on the ${kind} bucket`, async () => {
    const server = await startNats();
    // A few connections stand for the processes: racers must not share one socket's order.
    const brokers: Broker[] = await Promise.all(
      [0, 1, 2].map((index) =>
        connectNats({
          role: "coordinator",
          id: { tenant: "t", job: "j" },
          name: `c${index}`,
          access: accessFromBroker({ servers: [server.url] }),
          clock: systemClock,
          pace: { reconnectTimeWait: 50, reconnectJitter: 10 },
        }),
      ),
    );
    let turn = 0;
    return {
      open: async (key) => {
        turn += 1;
        const broker = brokers[turn % brokers.length];
        if (broker === undefined) throw new Error("unreachable");
        // Patient at first, while the machine is busy starting; then quick to give up on a frozen server.
        await openBucket(broker, kind, { requestTimeout: durationMs(30_000) });
        return natsRegister(
          await openBucket(broker, kind, { requestTimeout: durationMs(2500) }),
          key,
        );
      },
      freeze: server.freeze,
      thaw: server.thaw,
      wipe: server.wipe,
      close: async () => {
        await Promise.all(brokers.map((broker) => broker.close()));
        await server.kill();
      },
    };
  });
}
