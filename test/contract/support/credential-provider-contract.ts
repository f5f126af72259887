/**
 * The contract that every CredentialProvider keeps, run by each against its own issuer through a
 * rig. Owns the claims; refuses to know any issuer.
 */
import { inspect } from "node:util";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type {
  CredentialProvider,
  ObtainContext,
  Obtained,
  ProviderServices,
} from "../../../src/coordinator/ports/credential-provider.ts";
import type { Credential } from "../../../src/protocol/credential.ts";
import { classOf, type ErrorClass, EvergrantError } from "../../../src/protocol/errors.ts";
import { systemClock, systemRandom } from "../../../src/runtime/system-clock.ts";

/** What an issuer can be made to do. */
export const ISSUER_FAULTS = [
  "throttled",
  "broken",
  "denied",
  "identity-rejected",
  "garbage",
  "hangs",
  "no-expiry",
  "past-expiry",
] as const;
export type IssuerFault = (typeof ISSUER_FAULTS)[number];

/** One issuer with one provider before it. Made anew for each test. */
export interface ProviderRig {
  readonly provider: CredentialProvider;
  readonly kind: string;
  /** From now on, every request meets this fault. */
  breakIssuer(fault: IssuerFault): void | Promise<void>;
  /** From now on, no fault. */
  mendIssuer(): void | Promise<void>;
  /** Requests that have reached the issuer so far. */
  requestsSeen(): number | Promise<number>;
  /** Resolves once the issuer has a request in hand that it will never answer. */
  hanging(): Promise<void>;
  /** The secrets that the provider itself holds: keys, assertions. */
  readonly baseSecrets: readonly string[];
  /**
   * Gives the coordinator another identity (key, token, keytab), and makes the issuer refuse the one
   * that it had until now. Absent: the provider has no identity of its own.
   */
  readonly replaceIdentity?: () => void | Promise<void>;
  readonly logged: readonly unknown[];
  close(): Promise<void>;
}

const CLASSES: Readonly<Partial<Record<IssuerFault, ErrorClass>>> = {
  throttled: "transient",
  broken: "transient",
  denied: "denied",
  "identity-rejected": "identity",
  garbage: "transient",
};
/** Between an abort and the rejection. Generous, since test machines are busy. */
const PROMPT_MS = 3_000;

/** A context whose requests are counted. */
export function countingContext(more: Partial<ObtainContext> = {}) {
  const context = {
    current: undefined as Credential | undefined,
    freshIdentity: false,
    replace: false,
    signal: new AbortController().signal as AbortSignal,
    counted: 0,
    countRequest() {
      context.counted += 1;
    },
    ...more,
  };
  return context;
}

/** Services that write down what was logged. */
export function recordingServices(workDir: string, logged: unknown[]): ProviderServices {
  return {
    name: "lake",
    tenant: "default",
    job: "etl",
    clock: systemClock,
    random: systemRandom,
    baseDir: workDir,
    workDir,
    log: (level, message, facts) => void logged.push({ level, message, facts }),
  };
}

/** The EvergrantError that the work must end with. */
export async function failureOf(work: Promise<unknown>): Promise<EvergrantError> {
  const thrown = await work.then(
    () => expect.fail("it was expected to fail"),
    (reason: unknown) => reason,
  );
  expect(thrown).toBeInstanceOf(EvergrantError);
  return thrown as EvergrantError;
}

/** Everything that a log or a debugger could show of a value. */
export function everythingShown(value: unknown): string {
  const parts = [inspect(value, { depth: 20, showHidden: true, getters: true }), String(value)];
  for (let at = value; at instanceof Error; at = at.cause) {
    parts.push(at.message, at.stack ?? "", JSON.stringify(at, Object.getOwnPropertyNames(at)));
  }
  return parts.join("\n");
}

function secretTexts(value: unknown): string[] {
  if (typeof value === "string") return value.length >= 12 ? [value] : [];
  return typeof value === "object" && value !== null
    ? Object.values(value).flatMap(secretTexts)
    : [];
}

export function expectNoSecret(shown: unknown, secrets: readonly string[]): void {
  const text = everythingShown(shown);
  for (const secret of secrets) expect(text.includes(secret), "a secret is shown").toBe(false);
}

export interface ContractLimits {
  /** Faults that this issuer can bring about. Default: all. */
  readonly faults?: readonly IssuerFault[];
  /** Whether the provider has an identity that can be replaced. Default true. */
  readonly identity?: boolean;
}

/** Registers a test, or none at all: what an issuer can't do is no claim about its provider. */
const whenOffered =
  (offered: boolean) =>
  (title: string, body: () => Promise<void>): void => {
    if (offered) test(title, body);
  };

/** Registers the suite. `start` is called before each test, and what it made is closed after it. */
export function credentialProviderContract(
  name: string,
  start: () => Promise<ProviderRig>,
  { faults = ISSUER_FAULTS, identity = true }: ContractLimits = {},
): void {
  const can = (fault: IssuerFault): boolean => faults.includes(fault);
  describe(`${name} keeps the contract of a credential provider`, () => {
    let rig: ProviderRig;
    const secretsOfIssued: string[] = [];

    const obtain = async (more: Partial<ObtainContext> = {}): Promise<Obtained> => {
      const obtained = await rig.provider.obtain(countingContext(more));
      secretsOfIssued.push(...secretTexts(obtained.material.reveal()));
      return obtained;
    };
    const secrets = (): string[] => [...rig.baseSecrets, ...secretsOfIssued];

    beforeEach(async () => {
      secretsOfIssued.length = 0;
      rig = await start();
    });
    afterEach(async () => {
      expectNoSecret(rig.logged, secrets());
      await rig.provider.close();
      await rig.close();
    });

    test("it obtains unexpired material of its kind, boxed", async () => {
      expect(rig.provider.credentialKind).toBe(rig.kind);
      expect(rig.provider.minRemaining).toBeGreaterThanOrEqual(0);
      const obtained = await obtain();
      expect(Object.keys(obtained.material.reveal()).length).toBeGreaterThan(0);
      expect(obtained.expiresAt).toBeGreaterThan(obtained.issuerTime ?? systemClock.now().wall);
      expectNoSecret(obtained, secrets());
    });

    test("each attempt obtains anew, and counts each of its requests", async () => {
      for (const attempt of [1, 2]) {
        const before = await rig.requestsSeen();
        const context = countingContext({ replace: attempt === 2 });
        await rig.provider.obtain(context);
        expect(context.counted).toBeGreaterThan(0);
        expect((await rig.requestsSeen()) - before).toBe(context.counted);
      }
    });

    for (const fault of faults) {
      const expected = CLASSES[fault];
      if (expected === undefined) continue;
      test(`"${fault}" is ${expected}, and nothing is retried inside`, async () => {
        await obtain();
        await rig.breakIssuer(fault);
        const before = await rig.requestsSeen();
        const context = countingContext();
        const error = await failureOf(rig.provider.obtain(context));
        expect(classOf(error.code), error.message).toBe(expected);
        expect(error.message.startsWith(`[${error.code}] `)).toBe(true);
        expect(context.counted).toBe(1);
        expect((await rig.requestsSeen()) - before).toBe(1);
        expectNoSecret(error, secrets());
        await rig.mendIssuer();
        await obtain();
      });
    }

    whenOffered(can("hangs"))("an issuer that hangs is left when the signal aborts", async () => {
      await obtain();
      await rig.breakIssuer("hangs");
      const end = new AbortController();
      const context = countingContext({ signal: end.signal });
      const ended = failureOf(rig.provider.obtain(context));
      await rig.hanging();
      const abortedAt = systemClock.now().mono;
      end.abort();
      const error = await ended;
      expect(systemClock.now().mono - abortedAt).toBeLessThan(PROMPT_MS);
      expect(error.code).toBe("ISSUER_TIMEOUT");
      expect(context.counted).toBe(1);
      expectNoSecret(error, secrets());
    });

    test("with a signal that has aborted before, no request is sent", async () => {
      const before = await rig.requestsSeen();
      const error = await failureOf(
        rig.provider.obtain(countingContext({ signal: AbortSignal.abort() })),
      );
      expect(error.code).toBe("ISSUER_TIMEOUT");
      expect(await rig.requestsSeen()).toBe(before);
    });

    whenOffered(can("no-expiry"))(
      "an answer without an expiry is handed on without one: whether that will do is not the provider's matter",
      async () => {
        await rig.breakIssuer("no-expiry");
        expect((await obtain()).expiresAt).toBeUndefined();
      },
    );

    whenOffered(can("past-expiry"))("an expiry in the past is handed on as it came", async () => {
      await rig.breakIssuer("past-expiry");
      const { expiresAt, issuerTime } = await obtain();
      expect(expiresAt).toBeLessThan(issuerTime ?? systemClock.now().wall);
    });

    whenOffered(identity)("with freshIdentity the identity is read anew", async () => {
      await obtain();
      await rig.replaceIdentity?.();
      await obtain({ freshIdentity: true });
    });

    test("closing twice is closing once", async () => {
      await rig.provider.close();
      await rig.provider.close();
    });
  });
}
