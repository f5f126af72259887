/** The audit sink never holds anything up and never grows without bound. */
import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import { expect, it } from "vitest";
import { natsAudit } from "../../../src/coordinator/adapters/nats-audit/nats-audit.ts";
import type { AuditEvent } from "../../../src/protocol/audit.ts";
import type { Done, Outcome } from "../../../src/protocol/outcome.ts";
import { AUDIT_STREAM } from "../../../src/protocol/subjects.ts";
import { durationMs } from "../../../src/protocol/time.ts";
import { systemRandom } from "../../../src/runtime/system-clock.ts";
import { connectAs } from "../../support/nats-job.ts";
import { startNats } from "../../support/servers.ts";

const id = { tenant: "t", job: "j" };
const event = (timeMs: number, text?: string): AuditEvent => ({
  v: 1,
  ...id,
  term: 1,
  timeMs,
  event: "obtained",
  ...(text === undefined ? {} : { text }),
});
const done = (call: (done: Done<void>) => void): Promise<Outcome<void>> =>
  new Promise((resolve) => call(resolve));

it("what is recorded while the store is away is stored when it is back, but for the oldest above the bound", async () => {
  const server = await startNats();
  const { broker } = await connectAs(server.url, "coordinator", id, "c", false);
  const sink = natsAudit({
    broker,
    random: systemRandom,
    spool: 5,
    closeLimit: durationMs(20_000),
  });
  sink.record(event(0));
  const jsm = await jetstreamManager(broker.nc);
  await server.kill();
  for (let timeMs = 1; timeMs <= 20; timeMs += 1) sink.record(event(timeMs));
  expect(sink.counts().waiting).toBe(5);
  expect(sink.counts().dropped).toBeGreaterThanOrEqual(15);
  await server.restart();
  // Closing does not cut off the attempt that is under way.
  const last = new Promise<void>((resolve) => {
    broker.nc.subscribe("evergrant.v1.audit.t.j", {
      callback: (_error, message) => {
        if (message.json<AuditEvent>().timeMs === 20) resolve();
      },
    });
  });
  await last;
  expect((await done((d) => sink.close(d))).ok).toBe(true);
  const times: number[] = [];
  const stored = await (await jetstream(broker.nc).consumers.get(AUDIT_STREAM)).consume();
  for await (const message of stored) {
    times.push(message.json<AuditEvent>().timeMs);
    if (message.info.pending === 0) break;
  }
  expect(times.slice(-5)).toEqual([16, 17, 18, 19, 20]);
  expect(new Set(times).size).toBe(times.length);
  const { config } = await jsm.streams.info(AUDIT_STREAM);
  expect(config).toMatchObject({
    storage: "file",
    max_age: 90 * 86_400 * 1_000_000_000,
    max_bytes: 1024 ** 3,
  });
  await broker.close();
  await server.kill();
});

it("closing while the store is away ends within its bound and says what is lost", async () => {
  const server = await startNats();
  const { broker } = await connectAs(server.url, "coordinator", id, "c", false);
  await server.kill();
  const sink = natsAudit({ broker, random: systemRandom, closeLimit: durationMs(200) });
  sink.record(event(1));
  const began = performance.now();
  const closed = await done((d) => sink.close(d));
  expect(performance.now() - began).toBeLessThan(10_000);
  expect(closed.ok ? undefined : closed.error.details).toEqual({ lost: 1 });
  await broker.close();
});
