/** Whom a NATS that runs on deploy/'s files lets in, and what it lets each role do, whichever version it is of. */
import { expect, it } from "vitest";
import { accessFromBroker } from "../../src/nats/access.ts";
import type { BrokerEvent } from "../../src/nats/broker-events.ts";
import { type Broker, connectNats } from "../../src/nats/connect.ts";
import { utf8 } from "../../src/protocol/encoding.ts";
import { permissionsOf, type Role } from "../../src/protocol/permissions.ts";
import { seconds } from "../../src/protocol/time.ts";
import { systemClock } from "../../src/runtime/system-clock.ts";
import type { DeployStores } from "./deploy-folder.ts";

/** The job that deploy/nats/users.conf is of. */
const ID = { tenant: "default", job: "etl" };
const ROLES = ["coordinator", "agent", "operator"] as const;

interface Client {
  readonly broker: Broker;
  readonly refused: string[];
}

/** Call it in a `describe` whose `beforeAll` has the stores ready. */
export function deployNatsSuite(stores: () => DeployStores): void {
  it("NATS lets nobody in without a password or without TLS", async () => {
    const { folder, natsPort, nats } = stores();
    const caPem = folder.secret("ca.pem");
    for (const broker of [
      { servers: [`tls://127.0.0.1:${natsPort}`], caPem },
      {
        servers: [`tls://127.0.0.1:${natsPort}`],
        caPem,
        user: "default.etl.agent",
        password: "guess",
      },
    ]) {
      const connecting = connectNats({
        role: "agent",
        id: ID,
        name: "x",
        access: accessFromBroker(broker),
        clock: systemClock,
        startTimeout: seconds(1),
      });
      await expect(connecting).rejects.toThrow(/START_TIMEOUT|BROKER_UNAVAILABLE/);
    }
    expect(nats.stderr()).toContain("authentication error");
  });

  for (const role of ROLES) {
    it(`NATS refuses ${role}s what the permission table does not allow, and nothing else`, async () => {
      const table = permissionsOf(role, ID, "*");
      const client = await connectAs(stores(), role);
      const { nc } = client.broker;
      const token = (subject: string): string => subject.replaceAll("*", "x").replace(/>$/, "x");
      const wrong: string[] = [];
      let refusals = 0;
      for (const subject of everySubject("publish").map(token)) {
        const allowed = table.publish.allow.some((pattern) => matches(pattern, subject));
        const refused = await refuses(client, () => nc.publish(subject, utf8("x")));
        if (refused === allowed) wrong.push(`publish ${subject}`);
        if (refused) refusals += 1;
      }
      for (const subject of everySubject("subscribe")) {
        const allowed = table.subscribe.allow.some((pattern) => matches(pattern, subject));
        const refused = await refuses(
          client,
          () => void nc.subscribe(subject, { callback: () => undefined }),
        );
        if (refused === allowed) wrong.push(`subscribe ${subject}`);
        if (refused) refusals += 1;
      }
      await client.broker.close();
      expect(wrong).toEqual([]);
      expect(refusals).toBeGreaterThan(20);
    });
  }
}

async function connectAs({ folder, natsPort }: DeployStores, role: Role): Promise<Client> {
  const refused: string[] = [];
  const broker = await connectNats({
    role,
    id: ID,
    name: "probe",
    access: accessFromBroker({
      servers: [`tls://127.0.0.1:${natsPort}`],
      user: `default.etl.${role}`,
      password: folder.secret(`nats-${role}-password`),
      caPem: folder.secret("ca.pem"),
    }),
    clock: systemClock,
    startTimeout: seconds(10),
    onEvent: (event: BrokerEvent) => {
      if (event.kind === "fault" && event.fault.kind === "permission")
        refused.push(event.fault.subject);
    },
  });
  return { broker, refused };
}

/** The server's answer comes before that of the flush after it. */
async function refuses({ broker, refused }: Client, act: () => void): Promise<boolean> {
  const before = refused.length;
  act();
  await broker.nc.flush();
  await broker.nc.flush();
  return refused.length > before;
}

/** Every subject that some role of this or another job may use, and what none may. */
function everySubject(kind: "publish" | "subscribe"): string[] {
  const jobs = [ID, { tenant: "default", job: "other" }];
  return [
    ...new Set([
      ...jobs.flatMap((id) =>
        ROLES.flatMap((role) => permissionsOf(role, id, "probe")[kind].allow),
      ),
      "$JS.API.STREAM.DELETE.KV_evergrant_leases",
      "$JS.API.STREAM.PURGE.KV_evergrant_state",
      "$JS.API.STREAM.LIST",
      "$JS.API.CONSUMER.CREATE.KV_evergrant_state",
      "$SYS.REQ.SERVER.PING",
      "_INBOX.x",
      "evergrant.v1.job.default.etl.ack",
      ...(kind === "subscribe" ? [">", "$KV.>", "_INBOX_eg.>", "evergrant.v1.>"] : []),
    ]),
  ];
}

/** NATS's own rule: `*` is one token, `>` the rest. */
function matches(pattern: string, subject: string): boolean {
  const want = pattern.split(".");
  const have = subject.split(".");
  for (const [index, token] of want.entries()) {
    if (token === ">") return have.length > index;
    const there = have[index];
    if (there === undefined) return false;
    if (token === "*") {
      if (there === ">") return false;
    } else if (token !== there) return false;
  }
  return want.length === have.length;
}
