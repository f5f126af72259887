/** A whole job on servers that want TLS and a login each, by the configuration alone. */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { encodeAccount, encodeOperator, encodeUser, fmtCreds } from "@nats-io/jwt";
import { createAccount, createOperator, createUser } from "@nats-io/nkeys";
import { describe, expect, it } from "vitest";
import { connectOperator } from "../../../src/operator/operator-client.ts";
import { permissionsOf, type Role } from "../../../src/protocol/permissions.ts";
import { eventually } from "../../support/eventually.ts";
import { FAST, generationAt, startJobRig } from "../../support/job-rig.ts";
import { startNats, startRedis } from "../../support/servers.ts";
import { makeTls } from "../../support/tls.ts";

const id = { tenant: "default", job: "secure" };
/** The library's defaults are zeros, which the server takes literally. */
const UNLIMITED = { subs: -1, data: -1, payload: -1 };
const ACCOUNT_LIMITS = {
  ...UNLIMITED,
  ...{ conn: -1, leaf: -1, imports: -1, exports: -1, wildcards: true },
  ...{ mem_storage: -1, disk_storage: -1, streams: -1, consumer: -1 },
};

/** An operator with one account, and what each role logs in with: a credentials file of its own. */
async function decentral() {
  const [operator, system, account] = [createOperator(), createAccount(), createAccount()];
  const accountJwt = await encodeAccount(
    "jobs",
    account,
    { limits: ACCOUNT_LIMITS },
    { signer: operator },
  );
  const systemJwt = await encodeAccount("system", system, {}, { signer: operator });
  const systemId = system.getPublicKey();
  const operatorJwt = await encodeOperator("acme", operator, { system_account: systemId });
  const credsOf = async (role: Role): Promise<string> => {
    const user = createUser();
    const { publish, subscribe } = permissionsOf(role, id);
    const claims = {
      ...UNLIMITED,
      pub: { allow: [...publish.allow] },
      sub: { allow: [...subscribe.allow] },
    };
    const jwt = await encodeUser(role, user, account, claims);
    return Buffer.from(fmtCreds(jwt, user)).toString("utf8");
  };
  return {
    settings: {
      operator: operatorJwt,
      system_account: systemId,
      resolver: "MEMORY",
      resolver_preload: { [account.getPublicKey()]: accountJwt, [systemId]: systemJwt },
    },
    credsOf,
  };
}

describe("NATS with TLS and credentials files, Redis with TLS and a password", () => {
  it("carry a whole job that is configured with files: rotations, a late joiner, an operator", async () => {
    const tls = makeTls();
    const { settings, credsOf } = await decentral();
    const [nats, redis] = await Promise.all([
      startNats({ tls, verifyClients: false, extra: settings }),
      startRedis({ tls, password: "only-for-the-schedule" }),
    ]);
    const rig = await startJobRig({
      nats,
      redis,
      job: id.job,
      lifetimeMs: 8000,
      yaml: FAST,
      stores: `
nats:
  servers: ["${nats.url}"]
  credsFile: creds/coordinator.creds
  agents: {credsFile: creds/agent.creds}
  operators: {credsFile: creds/operator.creds}
  tls: {caFile: "${tls.caFile}"}
redis: {url: "rediss://127.0.0.1:${redis.port}", passwordFile: redis-password, caFile: "${tls.caFile}"}`,
    });
    await mkdir(join(rig.dir, "creds"));
    for (const role of ["coordinator", "agent", "operator"] as const) {
      await writeFile(join(rig.dir, "creds", `${role}.creds`), await credsOf(role), {
        mode: 0o600,
      });
    }
    await writeFile(join(rig.dir, "redis-password"), "only-for-the-schedule\n", { mode: 0o600 });
    const coordinator = await rig.coordinator();
    await coordinator.ready();
    const agent = await rig.agent();
    await generationAt(agent, 2);
    const late = await rig.sidecar({ config: { name: "late" } });
    await late.ready(10_000);
    const operator = await connectOperator(coordinator.operatorFile);
    rig.atEnd(() => operator.close());
    expect((await operator.agents()).map(({ state }) => state)).toEqual(["live", "live"]);
    await eventually(async () => (await operator.status()).agents.upToDate === 2);
    expect((await operator.status()).rotations.map((r) => r.reason)).toContain("scheduled");
    // The schedule was really in Redis: nothing was said about its being away.
    expect(coordinator.status().warnings.filter((w) => w.includes("Redis"))).toEqual([]);
    expect(rig.logs.filter((line) => line.includes("QUEUE_UNAVAILABLE"))).toEqual([]);
    // Neither password nor private keys have reached the log.
    const text = rig.logs.join("\n");
    expect(text).not.toContain("only-for-the-schedule");
    expect(text).not.toContain("NKEY SEED");
  });
});
