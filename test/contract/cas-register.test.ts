import { natsRegister } from "../../src/coordinator/adapters/nats-register/nats-register.ts";
import { accessFromBroker } from "../../src/nats/access.ts";
import { type Broker, connectNats } from "../../src/nats/connect.ts";
import { type BucketKind, openBucket } from "../../src/nats/nats-kv.ts";
import { durationMs } from "../../src/protocol/time.ts";
import { systemClock } from "../../src/runtime/system-clock.ts";
import { MemoryStore } from "../support/memory-register.ts";
import { startNats } from "../support/servers.ts";
import { casRegisterContract } from "./support/cas-register-contract.ts";

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
