/**
 * A simulated issuer with its own clock, lives and moods. It keeps its own book of what it has
 * issued and until when that truly lives, by which the oracle judges everybody else.
 */
import type { ObtainedFacts } from "../../src/coordinator/core/effects.ts";
import type { Issuer } from "../../src/coordinator/ports/issuer.ts";
import type { Material } from "../../src/protocol/credential.ts";
import { type ErrorCode, EvergrantError } from "../../src/protocol/errors.ts";
import { failure, type Outcome, success } from "../../src/protocol/outcome.ts";
import { Secret } from "../../src/protocol/secret.ts";
import { epochMs } from "../../src/protocol/time.ts";
import type { Chance } from "./chance.ts";
import type { ProviderProfile } from "./profile.ts";
import { EPOCH, type SimNode } from "./sim-node.ts";
import type { Timeline } from "./timeline.ts";

/** Stands in every secret, so that a leak is found by looking for it (I9). */
export const MARK = "SECRET!";

export const MOODS = [
  "well",
  "throttling",
  "down",
  "denying",
  "rejecting-identity",
  "hanging",
  "slow",
  "expiry-past",
  "no-expiry",
  "partial",
  "short",
  "garbage",
] as const;
export type Mood = (typeof MOODS)[number];

const CODE_OF: Partial<Record<Mood, ErrorCode>> = {
  throttling: "ISSUER_THROTTLED",
  down: "ISSUER_UNAVAILABLE",
  denying: "ISSUER_DENIED",
  "rejecting-identity": "ISSUER_IDENTITY_REJECTED",
  garbage: "ISSUER_ANSWER_UNUSABLE",
};

/** One thing that it has issued. */
export interface Issuance {
  readonly provider: string;
  readonly mark: string;
  /** True times. */
  readonly issuedAt: number;
  readonly expiresAt: number;
  /** By its own clock, as it stands in the answer, or as whoever asked has to assume it. */
  readonly statedExpiry: number;
  readonly to: string;
  /** How long the answer took to be heard: nobody can know the issuer's clock better than this. */
  way: number;
}

export interface SimCall {
  readonly provider: string;
  readonly node: SimNode;
  readonly epoch: number;
  readonly startedAt: number;
  readonly endsAt: number;
  /** How its caller knows it to have ended; undefined: not yet, or never. */
  told: boolean;
  issued: Issuance | undefined;
}

export class SimIssuer {
  readonly profile: ProviderProfile;
  mood: Mood = "well";
  readonly issued: Issuance[] = [];
  /** Every call that has left a coordinator, in order. */
  readonly calls: SimCall[] = [];
  cancelled = 0;
  readonly #timeline: Timeline;
  readonly #chance: Chance;
  #renewals = 0;
  /** Called when a call leaves, before it arrives. */
  onCall: (call: SimCall) => void = () => undefined;

  constructor(profile: ProviderProfile, timeline: Timeline, chance: Chance) {
    this.profile = profile;
    this.#timeline = timeline;
    this.#chance = chance;
  }

  /** The port of one coordinator's process. */
  port(node: SimNode): Issuer {
    return {
      obtain: (asked, done) => {
        const { epoch } = node;
        node.io(() => {
          const now = this.#timeline.now;
          const call: SimCall = {
            provider: this.profile.name,
            node,
            epoch,
            startedAt: now,
            endsAt: now + asked.timeout,
            told: false,
            issued: undefined,
          };
          this.calls.push(call);
          this.onCall(call);
          const tell = (outcome: Outcome<ObtainedFacts>, requests: number): void => {
            if (call.told) return;
            call.told = true;
            if (call.issued !== undefined)
              call.issued.way = this.#timeline.now - call.issued.issuedAt;
            done(outcome, requests);
          };
          node.after(asked.timeout, () =>
            tell(failure(new EvergrantError("ISSUER_TIMEOUT", "took too long")), 1),
          );
          this.#timeline.after(this.#way(), () => {
            const outcome = this.#answer(call, asked.replace ? undefined : asked.current?.material);
            if (outcome === undefined) return;
            this.#timeline.after(this.#way(), () => node.deliver(epoch, () => tell(outcome, 1)));
          });
        });
      },
      cancel: (_credential, timeout, done) => {
        node.io(() => {
          this.cancelled += 1;
          if (this.mood === "hanging") {
            node.after(timeout, () =>
              done(failure(new EvergrantError("ISSUER_TIMEOUT", "took too long"))),
            );
          } else node.after(this.#way(), () => done(success(undefined)));
        });
      },
      close: (done) => done(success(undefined)),
    };
  }

  #way(): number {
    const most = this.profile.callTimeout;
    return this.mood === "slow"
      ? this.#chance.unit() * most * 0.7
      : this.#chance.unit() * most * 0.05;
  }

  #answer(
    call: SimCall,
    current: Secret<Material> | undefined,
  ): Outcome<ObtainedFacts> | undefined {
    const { mood, profile } = this;
    if (mood === "hanging") return undefined;
    const code = CODE_OF[mood];
    if (code !== undefined) return failure(new EvergrantError(code, "as it pleases"));
    const now = this.#timeline.now;
    const clock = Math.floor(EPOCH + now + profile.skew);
    const renews =
      profile.renewals > 0 && current !== undefined && this.#renewals < profile.renewals;
    const life =
      mood === "short" && profile.assumedLifetime === undefined
        ? profile.lifetime * 0.5
        : profile.lifetime;
    const mark = renews
      ? String(current.reveal()["secretAccessKey"])
      : `${MARK}${profile.name}-${this.issued.length + 1}`;
    this.#renewals = renews ? this.#renewals + 1 : 0;
    const silent = profile.assumedLifetime !== undefined || mood === "no-expiry";
    const past = mood === "expiry-past" && !silent;
    const stated = past ? clock - 1000 : Math.floor(clock + life);
    const issuance: Issuance = {
      provider: profile.name,
      mark,
      issuedAt: now,
      expiresAt: past ? now - 1000 : now + life,
      statedExpiry:
        profile.assumedLifetime === undefined ? stated : clock + profile.assumedLifetime,
      to: call.node.name,
      way: 0,
    };
    this.issued.push(issuance);
    call.issued = issuance;
    return success({
      material: renews ? current : new Secret<Material>({ secretAccessKey: mark }),
      expiresAt: silent ? undefined : epochMs(stated),
      issuedAt: undefined,
      // A `Date` header has no milliseconds.
      issuerTime: profile.dated ? epochMs(Math.floor(clock / 1000) * 1000) : undefined,
      attributes: {},
      problem:
        mood === "partial"
          ? new EvergrantError("ISSUER_UNAVAILABLE", "a part could not be renewed")
          : undefined,
    });
  }
}
