import * as fc from "fast-check";
import { expect, it } from "vitest";
import {
  type GrantTimes,
  planAll,
  skewOf,
} from "../../../src/coordinator/providers/hadoop/plan.ts";
import { judgeRefusal } from "../../../src/coordinator/providers/hadoop/remote-errors.ts";
import { addressOf, TOKEN_APIS } from "../../../src/coordinator/providers/hadoop/token-api.ts";
import { ERROR_CODES } from "../../../src/protocol/errors.ts";
import { epochMs } from "../../../src/protocol/time.ts";

const DAY = 86_400_000;
const grant = (renewedAt: number, expiresAt: number, issuedAt: number, maxDate: number) => ({
  grant: {
    renewedAt: epochMs(renewedAt),
    expiresAt: epochMs(expiresAt),
    issuedAt: epochMs(issuedAt),
    maxDate: epochMs(maxDate),
  } satisfies GrantTimes,
  renewable: true,
});
const NONE = { grant: undefined, renewable: true };

it("with Hadoop's defaults renews six times in place and re-issues at 75 % of seven days", () => {
  let at = 0;
  const plans: string[] = [];
  for (let renewals = 0; renewals < 7; renewals += 1) {
    const now = at + 0.75 * DAY;
    const [plan] = planAll([grant(at, at + DAY, 0, 7 * DAY)], false, epochMs(now));
    plans.push(plan ?? "");
    at = now;
  }
  expect(plans).toEqual([...Array<string>(6).fill("renew"), "reissue"]);
});

it("never touches a live token that is not due while another service is being retried", () => {
  void fc.assert(
    fc.property(
      fc.integer({ min: 1, max: DAY }),
      fc.double({ min: 0, max: 0.69, noNaN: true }),
      (life, part) => {
        const fresh = grant(0, life, 0, 100 * life);
        const now = epochMs(Math.floor(part * life));
        expect(planAll([fresh, NONE], false, now)).toEqual(["keep", "reissue"]);
      },
    ),
  );
});

it("gives every input a plan, and renews only what would gain by it", () => {
  const instant = fc.integer({ min: 0, max: 10 * DAY });
  const input = fc.record({
    grant: fc.option(
      fc.record({
        renewedAt: instant.map(epochMs),
        expiresAt: instant.map(epochMs),
        issuedAt: fc.option(instant.map(epochMs), { nil: undefined }),
        maxDate: fc.option(instant.map(epochMs), { nil: undefined }),
      }),
      { nil: undefined },
    ),
    renewable: fc.boolean(),
  });
  void fc.assert(
    fc.property(fc.array(input, { maxLength: 5 }), fc.boolean(), instant, (inputs, replace, at) => {
      const plans = planAll(inputs, replace, epochMs(at));
      expect(plans).toHaveLength(inputs.length);
      plans.forEach((plan, index) => {
        const { grant: held, renewable } = inputs[index] ?? NONE;
        if (held === undefined || held.expiresAt <= at || replace) expect(plan).toBe("reissue");
        if (plan === "renew") {
          expect(renewable && held?.maxDate !== undefined && held.expiresAt > at).toBe(true);
        }
      });
    }),
  );
});

it("takes the first to end where nothing is due by the usual ratio, as a low renewal.ratio asks", () => {
  const inputs = [grant(0, 2 * DAY, 0, 70 * DAY), grant(0, DAY, 0, 70 * DAY)];
  expect(planAll(inputs, false, epochMs(0.2 * DAY))).toEqual(["keep", "renew"]);
});

it("takes a difference below the resolution of the Date header for none", () => {
  expect(skewOf(epochMs(1_000_000), epochMs(1_001_900))).toBe(0);
  expect(skewOf(epochMs(1_060_000), epochMs(1_000_500))).toBe(60_000);
});

it("judges every exception and every status by some code, and never by a message", () => {
  void fc.assert(
    fc.property(
      fc.integer({ min: 100, max: 599 }),
      fc.string(),
      fc.string(),
      (status, exception, message) => {
        const answer = (words: string) => ({
          status,
          reason: words,
          contentType: "application/json",
          body: JSON.stringify({ RemoteException: { exception, message: words } }),
          date: undefined,
        });
        const refusal = judgeRefusal(answer(message));
        expect(ERROR_CODES).toContain(refusal.code);
        expect(judgeRefusal(answer("token can't be found in cache, is expired"))).toEqual(refusal);
      },
    ),
  );
});

it("puts a gateway's path before the usual one, unless it is that one already", () => {
  const { webhdfs, yarn } = TOKEN_APIS;
  const at = (url: string): string =>
    addressOf(new URL(url), webhdfs.issue({ renewer: "etl", doAs: "a b&c" })).href;
  const query = "?op=GETDELEGATIONTOKEN&renewer=etl&doas=a+b%26c";
  expect(at("http://nn:9870")).toBe(`http://nn:9870/webhdfs/v1/${query}`);
  expect(at("http://nn:9870/webhdfs/v1")).toBe(`http://nn:9870/webhdfs/v1/${query}`);
  expect(at("https://gate/x")).toBe(`https://gate/x/webhdfs/v1/${query}`);
  expect(
    addressOf(new URL("http://rm:8088/"), yarn.issue({ renewer: "etl", doAs: undefined })).href,
  ).toBe("http://rm:8088/ws/v1/cluster/delegation-token");
});
