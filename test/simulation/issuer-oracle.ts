/** Watches every call to an issuer: that it was meant, counted, due, alone and not too soon (I3, I10, I11). */
import type { JobState, ProviderRecord } from "../../src/coordinator/core/job-state.ts";
import { CALL_WINDOW, MAX_CALLS, MIN_CALL_GAP } from "../../src/coordinator/core/settings.ts";
import type { AuditEvent } from "../../src/protocol/audit.ts";
import type { Oracle } from "./oracle.ts";
import type { SimCoordinator } from "./sim-coordinator.ts";
import type { SimCall } from "./sim-issuer.ts";

export class IssuerOracle {
  endedAt: number | undefined;
  readonly #oracle: Oracle;
  /** The newest intent that was stored, by provider and holder, and whether it has led to a call. */
  readonly #intents = new Map<string, { nonce: string; used: boolean }>();
  readonly #reasons = new Map<string, string>();
  /** When each process has called each provider. */
  readonly #asks = new Map<string, number[]>();
  /** The longest life that each process has stored or taken up, by provider. */
  readonly #longest = new Map<string, number>();
  readonly #wantedAsks = new Map<string, number>();
  readonly #wished = new Map<string, number>();
  readonly #counted = new Map<string, number>();

  constructor(oracle: Oracle) {
    this.#oracle = oracle;
  }

  /** An operator or a consumer has a reason for a new credential. */
  asked(provider: string, reason: "forced" | "demand"): void {
    const key = `${provider}/${reason}`;
    this.#wished.set(key, (this.#wished.get(key) ?? 0) + 1);
  }

  onReason(by: SimCoordinator, event: AuditEvent): void {
    this.#reasons.set(`${by.holder}/${event.provider}`, event.reason ?? "");
  }

  /** A coordinator sets about a call. */
  onAsk(by: SimCoordinator, provider: string): void {
    const oracle = this.#oracle;
    const { world } = oracle;
    const { now } = world.timeline;
    const key = `${provider}/${by.holder}`;
    const reason = this.#reasons.get(`${by.holder}/${provider}`) ?? "";
    const intent = this.#intents.get(key);
    if (intent === undefined || intent.used) {
      oracle.violated("I3", `${by.node.name} calls ${provider} without a stored intent`);
    } else intent.used = true;
    if (this.endedAt !== undefined) {
      oracle.violated("END", `${by.node.name} calls ${provider} after the end of the job`);
    }
    this.#bound(by, provider, now);
    this.#justified(by, provider, reason, now);
  }

  /** I11. */
  #bound(by: SimCoordinator, provider: string, now: number): void {
    const key = `${provider}/${by.holder}`;
    const asks = this.#asks.get(key) ?? [];
    this.#asks.set(key, asks);
    const last = asks.at(-1);
    if (last !== undefined && now - last < MIN_CALL_GAP) {
      this.#oracle.violated("I11", `${by.node.name} calls ${provider} after ${now - last} ms`);
    }
    // Lives that the plan alone renews that often have twice what it plans (ADR 16). It goes by what this
    // process has seen: to one that begins with an issuer's short lives, they are the plan.
    const cycle = 0.75 * (this.#longest.get(key) ?? Number.POSITIVE_INFINITY);
    const planned = cycle < 3000 ? 0 : CALL_WINDOW / cycle;
    const most = Math.max(MAX_CALLS, Math.ceil(2 * planned));
    const first = asks.at(-most);
    if (first !== undefined && now - first < CALL_WINDOW) {
      this.#oracle.violated("I11", `${by.node.name}: ${most + 1} calls in ${now - first} ms`);
    }
    asks.push(now);
    const all = this.#oracle.world.issuerOf(provider).calls;
    const before = all.at(-1);
    // Also across coordinators, unless the stores forgot that there was another.
    const elsewhere = before !== undefined && before.node !== by.node && !this.#oracle.wiped;
    if (elsewhere && now - before.startedAt < MIN_CALL_GAP - 10) {
      this.#oracle.violated(
        "I11",
        `${provider} is called twice within ${now - before.startedAt} ms`,
      );
    }
  }

  /** Every reason must have its cause. */
  #justified(by: SimCoordinator, provider: string, reason: string, now: number): void {
    const oracle = this.#oracle;
    const { world } = oracle;
    const record = (world.nats.peek("state") as JobState | undefined)?.providers[provider];
    const credential = record?.credential;
    const { profile } = world.issuerOf(provider);
    if (reason === "scheduled" && credential !== undefined && record !== undefined) {
      const issuance = oracle.issuanceOf(credential);
      const life = issuance.expiresAt - issuance.issuedAt;
      // Its maker saw the two clocks apart, and took that off twice: in its own time, and from the margin.
      const apart = Math.abs(profile.skew) + oracle.clockBound;
      const slack = 0.02 * life + 2 * profile.callTimeout + 2 * apart + 4000;
      const due = oracle.dueOf(issuance).earliest - slack;
      if (now < due) oracle.violated("I3", `${provider} is renewed ${due - now} ms too early`);
    }
    if (reason === "initial" && credential !== undefined) {
      const left = oracle.issuanceOf(credential).expiresAt - now;
      const slack = 2 * profile.callTimeout + 2 * Math.abs(profile.skew) + 4000 + oracle.clockBound;
      const assumed = profile.assumedLifetime === undefined ? 0 : profile.lifetime * 0.15;
      if (left > slack + assumed) {
        oracle.violated("I3", `${provider} is obtained anew with ${left} ms of life left`);
      }
    }
    if (reason === "recovery") {
      // An intent that was found is waited out, in case its call is still under way.
      // Of this term, by its own clock: a pause in the middle does not begin it anew.
      const since = by.driver?.core().leadership.leadingSince;
      const led = since === undefined ? 0 : by.node.clock.now().mono - since;
      if (led < profile.callTimeout - 10) {
        oracle.violated("I3", `${provider} is recovered after ${led} ms of leading`);
      }
    }
    if (reason === "config" && record?.configDigest === by.digests.get(provider)) {
      oracle.violated("I3", `${provider} is obtained anew though its configuration is the same`);
    }
    if (reason !== "forced" && reason !== "demand") return;
    // What is due by the agents' measure, though not by this coordinator's clock, is their demand too.
    if (reason === "demand" && credential !== undefined) {
      const quarter =
        0.25 * (credential.expiresAt - credential.issuedAt) + world.profile.timing.beat;
      const short = world.agents.some(({ node, serving }) => {
        const served = serving.get(`probe/${provider}`);
        return served !== undefined && node.trueTime(served.until) - now <= quarter + 5000;
      });
      if (short || oracle.jumped > 0) return;
    }
    const count = (this.#counted.get(`${provider}/${reason}`) ?? 0) + 1;
    this.#counted.set(`${provider}/${reason}`, count);
    // A rotation that was asked for makes a forced call of what others have demanded, too.
    if (count > (this.#wished.get(`${provider}/${reason}`) ?? 0)) {
      oracle.violated(
        "I3",
        `${count} calls for ${provider} are ${reason}, more than were asked for`,
      );
    }
    const key = `${provider}/${by.holder}`;
    const last = this.#wantedAsks.get(key);
    this.#wantedAsks.set(key, now);
    const { cooldownFirst } = world.profile.timing;
    // It counts from the intent, whose storing may take longer for one than for the other.
    const calm = world.good.since("nats", `node:${by.node.name}`) <= (last ?? now) - 5000;
    if (last !== undefined && calm && now - last < 0.9 * cooldownFirst) {
      oracle.violated(
        "I11",
        `${provider}: two ${reason} calls within the cooldown, ${now - last} ms`,
      );
    }
  }

  /** A call leaves: nobody else's may be under way, unless its caller was asleep or is dead. */
  onCall(call: SimCall): void {
    const { world } = this.#oracle;
    const { now } = world.timeline;
    if (this.#oracle.lostAnew()) return;
    for (const other of world.issuerOf(call.provider).calls) {
      if (other === call || other.told || now >= other.endsAt) continue;
      // Paused in between, or gone: the design counts these as recoveries.
      if (other.epoch !== other.node.epoch || other.node.paused) continue;
      if (world.good.since(`node:${call.node.name}`, `node:${other.node.name}`) > other.startedAt) {
        continue;
      }
      this.#oracle.violated(
        "I3",
        `${call.node.name} and ${other.node.name} call ${call.provider} at the same time`,
      );
    }
  }

  onState(state: JobState, before: JobState | undefined): void {
    for (const [name, record] of Object.entries(state.providers)) {
      const { counts, intent } = record;
      const accounted = counts.obtained + counts.failures + counts.recoveries + (intent ? 1 : 0);
      if (counts.calls !== accounted) {
        this.#oracle.violated("I3", `${name}: ${counts.calls} calls, ${accounted} accounted for`);
      }
      if (intent !== undefined) this.#noteIntent(name, intent.nonce);
      this.#noteLife(`${name}/${holderIn(state.writeNonce)}`, record);
      this.#stable(name, record, before?.providers[name]);
    }
  }

  #noteIntent(provider: string, nonce: string): void {
    const key = `${provider}/${holderIn(nonce)}`;
    if (this.#intents.get(key)?.nonce === nonce) return;
    this.#intents.set(key, { nonce, used: false });
  }

  #noteLife(key: string, { credential }: ProviderRecord): void {
    if (credential === undefined) return;
    const life = credential.expiresAt - credential.issuedAt;
    this.#longest.set(key, Math.max(this.#longest.get(key) ?? 0, life));
  }

  /** The plan of a credential is made once, whoever leads; and it is kept (I10). */
  #stable(name: string, record: ProviderRecord, before: ProviderRecord | undefined): void {
    const oracle = this.#oracle;
    const { credential, renewAt, jitter } = record;
    if (credential === undefined || renewAt === undefined) return;
    const life = credential.expiresAt - credential.issuedAt;
    if (jitter < 0 || jitter > 0.02 * life) {
      oracle.violated("PLAN", `${name}: a jitter of ${jitter} ms of ${life}`);
    }
    const same = before?.credential?.generation === credential.generation;
    const moved = before?.renewAt !== renewAt || before?.jitter !== jitter;
    if (same && moved && !oracle.lostAnew()) {
      oracle.violated("PLAN", `${name}: the plan of generation ${credential.generation} moved`);
    }
    if (!same) this.#punctual(name, record);
  }

  /** I6, I10: while all else is well the renewal is on time, whatever happens to others or happened before. */
  #punctual(name: string, record: ProviderRecord): void {
    const oracle = this.#oracle;
    const { world } = oracle;
    const { timing, wallSpread } = world.profile;
    const { credential } = record;
    if (credential === undefined) return;
    const issuance = oracle.issuanceOf(credential);
    const { calls, profile } = world.issuerOf(name);
    const due = oracle.dueOf(issuance).latest + 4 * wallSpread;
    const calm = profile.callTimeout + timing.leaseRenew + 2 * timing.storeRetry + 1000;
    const left = issuance.expiresAt - due;
    const check = (at: number, scopes: readonly string[], since: number, how: string): void => {
      world.timeline.at(at, () => {
        const state = world.nats.peek("state") as JobState | undefined;
        const now = state?.providers[name]?.credential;
        // By its mark as well: where stores were lost, another one may have the same generation.
        if (now === undefined || now.generation !== credential.generation) return;
        if (oracle.markOf(now) !== oracle.markOf(credential)) return;
        if (calls.some((call) => call.startedAt > issuance.issuedAt + 1)) return;
        const { leader } = world;
        if (leader === undefined || leader.since > since || world.endedOnce) return;
        const { node } = leader.coordinator;
        if (!leader.coordinator.digests.has(name)) return;
        // A plan is in the time of its maker: where clocks have jumped it means less to others.
        if (oracle.jumped > 0 || oracle.callsWithin(name, CALL_WINDOW) >= MAX_CALLS) return;
        if (world.good.since("nats", "clocks", `node:${node.name}`, ...scopes) > since) return;
        oracle.violated("I10", `${name} is due since ${world.timeline.now - due} ms: ${how}`);
      });
    };
    const onTime = 1500;
    // Where others take part the queue may raise a due with one who does not lead.
    if (world.coordinators.length === 1) {
      check(due + onTime, ["redis"], due - 2 * timing.reconcile - calm, "and the queue is well");
    }
    const grace = Math.max(500, Math.min(timing.watchdogGrace, left / 3));
    check(due + grace + onTime, [], due - calm, "and there is a watchdog");
  }

  /** I3: what the state has counted is what has truly been called. */
  atRest(): void {
    const { world, wiped } = this.#oracle;
    if (wiped) return;
    const state = world.nats.peek("state") as JobState | undefined;
    for (const [name, { counts }] of Object.entries(state?.providers ?? {})) {
      const { calls } = world.issuerOf(name);
      if (counts.obtained + counts.failures > calls.length || calls.length > counts.calls) {
        this.#oracle.violated(
          "I3",
          `${name}: ${calls.length} true calls, ${JSON.stringify(counts)} counted`,
        );
      }
    }
  }
}

/** A nonce is its holder and a number. */
const holderIn = (nonce: string): string => nonce.slice(0, nonce.lastIndexOf("."));
