import { describe, expect, it } from "vitest";
import { permissionsOf } from "../../../src/protocol/permissions.ts";
import { cli } from "./fake-io.ts";

describe("evergrant nats-permissions", () => {
  it("prints each role's subjects from the table, and no password", async () => {
    const { code, stdout } = await cli(["nats-permissions", "--tenant", "acme", "--job", "etl"]);
    expect(code).toBe(0);
    for (const role of ["coordinator", "operator", "agent"] as const) {
      const { publish, subscribe } = permissionsOf(role, { tenant: "acme", job: "etl" });
      for (const subject of [...publish.allow, ...subscribe.allow]) {
        expect(stdout).toContain(JSON.stringify(subject));
      }
    }
    const passwords = [...stdout.matchAll(/^ +password: (.*)$/gm)].map(([, value]) => value);
    expect(passwords).toEqual(
      ["COORDINATOR", "OPERATOR", "AGENT"].map((role) => `$EVERGRANT_ACME_ETL_${role}_PASSWORD`),
    );
  });

  it("gives agents that are named a user of their own each, and no shared one", async () => {
    const { code, stdout } = await cli([
      "nats-permissions",
      "--job",
      "etl",
      "--agent",
      "a-1,b",
      "--json",
    ]);
    expect(code).toBe(0);
    const users = JSON.parse(stdout) as {
      user: string;
      permissions: { publish: { allow: string[] } };
    }[];
    expect(users.map(({ user }) => user)).toEqual([
      "default.etl.coordinator",
      "default.etl.operator",
      "default.etl.agent.a-1",
      "default.etl.agent.b",
    ]);
    const own = users.at(-1)?.permissions.publish.allow ?? [];
    expect(own.filter((subject) => subject.includes("*"))).toEqual([]);
  });

  it("refuses two agents whose variables would be one", async () => {
    const { code } = await cli(["nats-permissions", "--job", "etl", "--agent", "a-1,a_1"]);
    expect(code).not.toBe(0);
  });

  it("needs a job", async () => {
    expect((await cli(["nats-permissions"])).code).toBe(2);
  });
});
