/** Logging in and negotiating with a real KDC: every way in which it is refused, by its number. */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { Login } from "../../src/coordinator/providers/hadoop/login.ts";
import { openNegotiator } from "../../src/coordinator/providers/hadoop/negotiator.ts";
import type { LoginOptions } from "../../src/coordinator/providers/hadoop/options.ts";
import type { Clock } from "../../src/protocol/time.ts";
import { systemClock } from "../../src/runtime/system-clock.ts";
import { eventually } from "../support/eventually.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { runProgram } from "./support/foreground.ts";
import { krb5Conf, startRealm, type TestRealm } from "./support/kdc.ts";

let realm: TestRealm;
let keytab: string;
let folders = 0;

beforeAll(async () => {
  realm = await startRealm("A.TEST");
  keytab = await realm.keytab("etl.keytab", "etl@A.TEST");
  await realm.keytab("http.keytab", "HTTP/localhost@A.TEST");
});
afterAll(() => realm?.remove());

function login(options: Partial<LoginOptions> = {}, clock: Clock = systemClock): Login {
  folders += 1;
  const made = new Login(
    {
      principal: "etl@A.TEST",
      keytab,
      ticketCache: undefined,
      krb5Config: realm.krb5Config,
      ...options,
    },
    {
      clock,
      folder: join(realm.dir, `login-${folders}`),
      kinit: "kinit",
      log: () => undefined,
    },
  );
  onTestFinished(() => made.close());
  return made;
}

const soon = (): AbortSignal => AbortSignal.timeout(20_000);

describe("logging in", () => {
  test("asks the KDC once, keeps the ticket for the next call, and leaves nothing behind", async () => {
    const before = realm.requestsOf("etl@A.TEST");
    const it = login();
    const [first, second] = await Promise.all([it.ensure(false, soon()), it.ensure(false, soon())]);
    expect(second).toEqual(first);
    const once = realm.requestsOf("etl@A.TEST") - before;
    await it.ensure(false, soon());
    expect(realm.requestsOf("etl@A.TEST") - before).toBe(once);
    await it.ensure(true, soon());
    expect(realm.requestsOf("etl@A.TEST") - before).toBe(2 * once);
    expect(existsSync(first.cachePath)).toBe(true);
    await it.close();
    expect(existsSync(first.cachePath)).toBe(false);
  });

  test("looks at the ticket each minute, and fetches a new one when 80 % of it are over", async () => {
    const clock = new ManualClock(systemClock.now());
    const asked = (): number => realm.requestsOf("etl@A.TEST");
    // Between two looks there is the minute's timer, and nothing else.
    const betweenLooks = (): boolean =>
      clock
        .pending()
        .map(({ delay }) => delay)
        .join() === "60000";
    await login({}, clock).ensure(false, soon());
    const first = asked();
    clock.stepWall(7.9 * 3_600_000);
    clock.advance(60_000);
    await eventually(betweenLooks);
    expect(asked()).toBe(first);
    clock.stepWall(0.2 * 3_600_000);
    clock.advance(60_000);
    await eventually(() => asked() > first);
  });

  test("takes a cache that somebody else keeps, and refuses one of another principal", async () => {
    const cache = join(realm.dir, "foreign.ccache");
    const env = { KRB5_CONFIG: realm.krb5Config };
    await runProgram("kinit", ["-k", "-t", keytab, "-c", `FILE:${cache}`, "etl@A.TEST"], { env });
    const foreign = { keytab: undefined, ticketCache: cache };
    expect((await login(foreign).ensure(false, soon())).cachePath).toBe(cache);
    const other = login({ ...foreign, principal: "other@A.TEST" });
    await expect(other.ensure(false, soon())).rejects.toMatchObject({
      code: "PROVIDER_INPUT_MISSING",
    });
    await other.close();
    expect(existsSync(cache)).toBe(true);
  });

  test("with a missing, cut or foreign keytab asks no KDC", async () => {
    const cut = join(realm.dir, "cut.keytab");
    writeFileSync(cut, readFileSync(keytab).subarray(0, 30));
    const wrong = [{ keytab: "/nonexistent" }, { keytab: cut }, { principal: "nobody@A.TEST" }];
    for (const options of wrong) {
      await expect(login(options).ensure(false, soon())).rejects.toMatchObject({
        code: "PROVIDER_INPUT_MISSING",
      });
    }
    expect(realm.requestsOf("nobody@A.TEST")).toBe(0);
  });

  test("with an old key, as an unknown or an expired principal is judged by the KDC's number", async () => {
    const stale = await realm.keytab("stale.keytab", "stale@A.TEST");
    await realm.admin("-q", "cpw -randkey stale@A.TEST");
    const gone = await realm.keytab("gone.keytab", "gone@A.TEST");
    await realm.admin("-q", "delprinc -force gone@A.TEST");
    const expired = await realm.keytab("expired.keytab", "expired@A.TEST");
    await realm.admin("-q", "modprinc -expire yesterday expired@A.TEST");
    for (const [path, principal, code, krb5Code] of [
      [stale, "stale@A.TEST", "ISSUER_IDENTITY_REJECTED", 24],
      [gone, "gone@A.TEST", "ISSUER_REQUEST_INVALID", 6],
      [expired, "expired@A.TEST", "ISSUER_DENIED", 1],
    ] as const) {
      const refused = login({ keytab: path, principal }).ensure(false, soon());
      await expect(refused).rejects.toMatchObject({ code, details: { krb5Code } });
    }
  });

  test("without preauthentication tells an old key from a KDC that is away", async () => {
    const stale = await realm.keytab("plain.keytab", "plain@A.TEST");
    await realm.admin("-q", "modprinc -requires_preauth plain@A.TEST");
    await realm.admin("-q", "cpw -randkey plain@A.TEST");
    const refused = login({ keytab: stale, principal: "plain@A.TEST" }).ensure(false, soon());
    await expect(refused).rejects.toMatchObject({ code: "ISSUER_IDENTITY_REJECTED" });
  });

  test("while the KDC is away fails as unavailable, and at one that hangs ends with its time", async () => {
    const away = join(realm.dir, "away.krb5.conf");
    writeFileSync(away, krb5Conf("A.TEST", [{ name: "A.TEST", port: 9 }]));
    await expect(login({ krb5Config: away }).ensure(false, soon())).rejects.toMatchObject({
      code: "ISSUER_UNAVAILABLE",
    });
    const silent = createServer(() => undefined).listen(0, "127.0.0.1");
    onTestFinished(() => void silent.close());
    await new Promise((resolve) => silent.once("listening", resolve));
    const address = silent.address();
    const port = typeof address === "object" && address !== null ? address.port : 0;
    const hanging = join(realm.dir, "hanging.krb5.conf");
    writeFileSync(hanging, krb5Conf("A.TEST", [{ name: "A.TEST", port }]));
    const begun = systemClock.now().mono;
    const limited = login({ krb5Config: hanging }).ensure(false, AbortSignal.timeout(500));
    await expect(limited).rejects.toMatchObject({ code: "ISSUER_TIMEOUT" });
    expect(systemClock.now().mono - begun).toBeLessThan(5_000);
  });
});

describe("negotiating", () => {
  test("gives each request a token of its own, and judges an unknown server by the KDC's number", async () => {
    const negotiator = openNegotiator(
      await login().ensure(false, soon()),
      join(realm.dir, "a.trace"),
      soon(),
    );
    onTestFinished(() => negotiator.close());
    const spn = "HTTP@localhost";
    const [one, other] = await Promise.all([negotiator.token(spn), negotiator.token(spn)]);
    expect(one).toMatch(/^YI/);
    expect(other).not.toBe(one);
    await expect(negotiator.token("HTTP@elsewhere.test")).rejects.toMatchObject({
      code: "ISSUER_REQUEST_INVALID",
      details: { krb5Code: 7 },
    });
    expect(await negotiator.token(spn)).toMatch(/^YI/);
    negotiator.close();
    await expect(negotiator.token(spn)).rejects.toMatchObject({ code: "PROVIDER_FAILED" });
  });

  test("with a ticket that has ended asks for a new login", async () => {
    const brief = await realm.keytab("brief.keytab", "brief@A.TEST");
    await realm.admin("-q", "modprinc -maxlife 1seconds brief@A.TEST");
    const loggedIn = await login({ keytab: brief, principal: "brief@A.TEST" }).ensure(
      false,
      soon(),
    );
    const negotiator = openNegotiator(loggedIn, join(realm.dir, "b.trace"), soon());
    onTestFinished(() => negotiator.close());
    let refused: unknown;
    while (refused === undefined) {
      await negotiator.token(`HTTP@host-${systemClock.now().mono}.test`).catch((error: unknown) => {
        if ((error as { code?: string }).code !== "ISSUER_REQUEST_INVALID") refused = error;
      });
    }
    expect(refused).toMatchObject({ code: "ISSUER_IDENTITY_REJECTED" });
  });

  test("ends at once when its time is over", async () => {
    const limit = new AbortController();
    const loggedIn = await login().ensure(false, soon());
    const negotiator = openNegotiator(loggedIn, join(realm.dir, "c.trace"), limit.signal);
    const asked = negotiator.token("HTTP@localhost");
    limit.abort();
    await expect(asked).rejects.toMatchObject({ code: "ISSUER_TIMEOUT" });
  });
});
