/**
 * One coordinator's core under the test's hand: the real `step`, stores and a queue that answer at
 * once, an issuer that answers as the test says, and a clock that jumps from one wake to the next.
 * Owns no decision. Every call to the issuer is noted with its time and reason.
 */
import type { Core } from "../../src/coordinator/core/core.ts";
import type { Effect, Event, ObtainedFacts } from "../../src/coordinator/core/effects.ts";
import type { JobState } from "../../src/coordinator/core/job-state.ts";
import type { LeaseRecord } from "../../src/coordinator/core/lease-record.ts";
import {
  type CoreSettings,
  DEFAULT_TIMING,
  type ProviderSettings,
} from "../../src/coordinator/core/settings.ts";
import { newCore, step, viewStatus } from "../../src/coordinator/core/step.ts";
import type { Bundle } from "../../src/protocol/bundle.ts";
import type { Answer, Command, JobStatus, Reason } from "../../src/protocol/control.ts";
import { type ErrorCode, EvergrantError } from "../../src/protocol/errors.ts";
import { failure, type Outcome, success } from "../../src/protocol/outcome.ts";
import type { Report } from "../../src/protocol/report.ts";
import { Secret } from "../../src/protocol/secret.ts";
import { durationMs, epochMs, monoMs, type Now, seconds } from "../../src/protocol/time.ts";

export const HOUR = 3_600_000;

/** A value that is written by compare-and-set; several rigs may share it. */
export class RigRegister<T> {
  value: T | undefined;
  revision: number | undefined;
  incarnation = "first";
  away = false;
  /** The next write is done, and its answer lost. */
  loseAnswer = false;
  writes = 0;

  read(): Outcome<{
    entry: { revision: number; value: T } | undefined;
    incarnation: string;
  }> {
    if (this.away) return failure(new EvergrantError("STORE_UNAVAILABLE", "rig"));
    const { value, revision, incarnation } = this;
    const entry = value === undefined || revision === undefined ? undefined : { revision, value };
    return success({ entry, incarnation });
  }

  write(expected: number | undefined, value: T): Outcome<number> {
    if (this.away) return failure(new EvergrantError("STORE_UNAVAILABLE", "rig"));
    if (expected !== this.revision) return failure(new EvergrantError("STORE_CONFLICT", "rig"));
    this.writes += 1;
    this.value = value;
    this.revision = (this.revision ?? 0) + 1;
    if (!this.loseAnswer) return success(this.revision);
    this.loseAnswer = false;
    return failure(new EvergrantError("STORE_UNAVAILABLE", "rig: the answer was lost"));
  }

  wipe(incarnation: string): void {
    this.value = undefined;
    this.revision = undefined;
    this.incarnation = incarnation;
  }
}

/** What outlives a coordinator. */
export class RigStores {
  readonly lease = new RigRegister<LeaseRecord>();
  readonly state = new RigRegister<JobState>();
  readonly bundle = new RigRegister<Bundle>();
}

export interface IssuerCall {
  readonly provider: string;
  readonly reason: Reason;
  /** Since the rig's start. */
  readonly atMs: number;
  /** The coordinator's wall clock. */
  readonly wallMs: number;
  readonly replace: boolean;
  readonly freshIdentity: boolean;
}

/** What the issuer does with a call: a life in milliseconds, a failure, facts of its own, or nothing at all. */
export type IssuerAnswer = number | ErrorCode | Partial<ObtainedFacts> | "hang";

export const aProvider = (over: Partial<ProviderSettings> = {}): ProviderSettings => ({
  name: "lake",
  kind: "aws-sts",
  credentialKind: "aws-session",
  configDigest: "c1",
  minRemaining: durationMs(0),
  callTimeout: seconds(10),
  assumedLifetime: undefined,
  cancels: false,
  ...over,
});

export interface RigOptions {
  readonly settings?: Partial<CoreSettings>;
  readonly stores?: RigStores;
  readonly issue?: (call: IssuerCall) => IssuerAnswer;
  /** Whether the queue raises its dues. Default true. */
  readonly queue?: boolean;
  /** On the rig's monotonic clock; wall time goes with it. */
  readonly startMs?: number;
}

const EPOCH = Date.UTC(2026, 0, 1);

export class CoreRig {
  readonly core: Core;
  readonly stores: RigStores;
  readonly calls: IssuerCall[] = [];
  /** Every effect, in order. */
  readonly effects: Effect[] = [];
  issue: (call: IssuerCall) => IssuerAnswer;
  queue: boolean;
  nowMs: number;
  readonly startMs: number;
  finished: "handed-over" | "ended" | undefined;
  readonly answers = new Map<number, Answer>();
  #wakeAt = Number.POSITIVE_INFINITY;
  #mailbox: Event[] = [];
  #planned: { provider: string; generation: number; attempt: number; atMs: number }[] = [];
  #issued = 0;
  #requests = 0;
  #sequence = 0;

  constructor(options: RigOptions = {}) {
    this.stores = options.stores ?? new RigStores();
    this.issue = options.issue ?? (() => HOUR);
    this.queue = options.queue ?? true;
    this.nowMs = options.startMs ?? 1_000_000;
    this.startMs = this.nowMs;
    this.core = newCore({
      id: { tenant: "default", job: "etl" },
      holder: "c1",
      groupSet: "set-1",
      newGroupKid: "set-1.k1",
      standby: false,
      ratio: 0.75,
      timing: DEFAULT_TIMING,
      providers: [aProvider()],
      ...options.settings,
    });
  }

  /** Starts the core, with the broker there. */
  start(): this {
    this.send({ kind: "start" });
    this.send({ kind: "connected" });
    return this;
  }

  now(): Now {
    return { wall: epochMs(EPOCH + this.nowMs), mono: monoMs(this.nowMs) };
  }

  /** Steps one event and all that follows from it at once. */
  send(event: Event): void {
    this.#mailbox.push(event);
    for (let next = this.#mailbox.shift(); next !== undefined; next = this.#mailbox.shift()) {
      const { effects, wakeAt } = step(this.core, next, this.now());
      this.#wakeAt = wakeAt;
      for (const effect of effects) {
        this.effects.push(effect);
        this.#perform(effect);
      }
    }
  }

  /** Lets time pass, stopping at each wake and each due of the queue. */
  run(ms: number): void {
    const end = this.nowMs + ms;
    for (;;) {
      const due = this.queue ? Math.min(...this.#planned.map((p) => p.atMs)) : Infinity;
      const next = Math.min(this.#wakeAt, due);
      if (next > end) break;
      this.nowMs = Math.max(this.nowMs, next);
      if (due <= this.nowMs) {
        const at = this.#planned.findIndex((p) => p.atMs <= this.nowMs);
        const [{ atMs: _, ...attempt } = { provider: "", generation: 0, attempt: 0, atMs: 0 }] =
          this.#planned.splice(at, 1);
        this.send({ kind: "due", attempt });
      } else this.send({ kind: "tick" });
    }
    this.nowMs = end;
  }

  callsOf(provider: string): IssuerCall[] {
    return this.calls.filter((call) => call.provider === provider);
  }

  effectsOf<K extends Effect["kind"]>(kind: K): Extract<Effect, { kind: K }>[] {
    return this.effects.filter((e): e is Extract<Effect, { kind: K }> => e.kind === kind);
  }

  status(): JobStatus {
    return viewStatus(this.core, this.now());
  }

  /** Gives an operator's command; yields the answer, undefined when nobody answers. */
  command(
    command: Command,
    over: { nonce?: string; issuedAtMs?: number; notAfterMs?: number; job?: string } = {},
  ): Answer | undefined {
    this.#requests += 1;
    const request = this.#requests;
    const { wall } = this.now();
    this.send({
      kind: "command",
      request,
      envelope: {
        v: 1,
        tenant: "default",
        job: "etl",
        operator: "op",
        nonce: `nonce-of-command-${request}`,
        issuedAtMs: wall,
        notAfterMs: wall + 60_000,
        command,
        ...over,
      },
    });
    return this.answers.get(request);
  }

  /** An agent asks to be let in with a token of five uses, or with what `over` says. */
  register(
    agent: string,
    instance: string,
    over: {
      key?: string;
      highest?: { term: number; generation: number };
      admission?: Extract<Event, { kind: "register" }>["admission"];
      job?: string;
    } = {},
  ): Extract<Effect, { kind: "answer-register" }>["decision"] | undefined {
    this.#requests += 1;
    const request = this.#requests;
    this.send({
      kind: "register",
      request,
      body: {
        v: 1,
        tenant: "default",
        job: over.job ?? "etl",
        agent,
        instance,
        nonce: `n${request}`,
        key: { kid: agent, jwk: { kty: "OKP", crv: "Ed25519", x: over.key ?? `${agent}-key` } },
        receivers: [],
        highest: over.highest ?? { term: 0, generation: 0 },
      },
      admission: over.admission ?? {
        kind: "token",
        token: {
          id: "token-one",
          tenant: "default",
          job: "etl",
          notAfterMs: EPOCH + 10 * 24 * HOUR,
          maxAgents: 5,
        },
      },
    });
    return this.effectsOf("answer-register").find((e) => e.request === request)?.decision;
  }

  /** A report of a registered agent: by default a healthy beat that holds what is published. */
  report(agent: string, instance: string, over: Partial<Report> = {}): void {
    this.#sequence += 1;
    const published = this.core.publisher.published ?? { term: 0, generation: 0 };
    this.send({
      kind: "report",
      report: {
        v: 1,
        type: "beat",
        agent,
        instance,
        sequence: this.#sequence,
        ...published,
        runwayMs: {},
        failing: {},
        refused: {},
        ...over,
      } as Report,
    });
  }

  #perform(effect: Effect): void {
    const { lease, state, bundle } = this.stores;
    const answer = (event: Event) => this.#mailbox.push(event);
    switch (effect.kind) {
      case "read-lease":
        answer({ kind: "lease-read", op: effect.op, outcome: lease.read() });
        return;
      case "write-lease":
        answer({
          kind: "lease-written",
          op: effect.op,
          outcome: lease.write(effect.expected, effect.record),
        });
        return;
      case "read-state":
        answer({ kind: "state-read", op: effect.op, outcome: state.read() });
        return;
      case "write-state":
        answer({
          kind: "state-written",
          op: effect.op,
          outcome: state.write(effect.expected, effect.state),
        });
        return;
      case "read-bundle":
        answer({ kind: "bundle-read", op: effect.op, outcome: bundle.read() });
        return;
      case "seal-bundle":
        this.#sealed = effect.bundle;
        answer({
          kind: "bundle-sealed",
          op: effect.op,
          outcome: success(new Uint8Array(1)),
        });
        return;
      case "write-bundle":
        if (this.#sealed === undefined) throw new Error("nothing was sealed");
        answer({
          kind: "bundle-written",
          op: effect.op,
          outcome: bundle.write(effect.expected, this.#sealed),
        });
        return;
      case "obtain":
        this.#obtain(effect, answer);
        return;
      case "ensure-queue":
        this.#planned = effect.plan.map((p) => ({
          provider: p.provider,
          generation: p.generation,
          attempt: p.attempt,
          atMs: this.nowMs + p.delay,
        }));
        answer({ kind: "queue-ensured", op: effect.op, outcome: success(0) });
        return;
      case "answer-command":
        this.answers.set(effect.request, effect.answer.answer);
        return;
      case "cancel":
      case "remove-keys":
      case "obliterate-queue":
        answer({ kind: "step-done", op: effect.op, outcome: success(undefined) });
        return;
      case "finished":
        this.finished = effect.how;
        return;
      default:
        return;
    }
  }

  #sealed: Bundle | undefined;

  #obtain(effect: Extract<Effect, { kind: "obtain" }>, answer: (event: Event) => void): void {
    const { provider, reason, replace, freshIdentity } = effect;
    const { wall } = this.now();
    const call: IssuerCall = {
      ...{ provider, reason, replace, freshIdentity },
      atMs: this.nowMs - this.startMs,
      wallMs: wall,
    };
    this.calls.push(call);
    const given = this.issue(call);
    if (given === "hang") return;
    this.#issued += 1;
    const facts: ObtainedFacts = {
      material: new Secret({ accessKeyId: `AKIA-${this.#issued}` }),
      expiresAt: undefined,
      issuedAt: undefined,
      issuerTime: wall,
      attributes: {},
      problem: undefined,
    };
    const outcome: Outcome<ObtainedFacts> =
      typeof given === "string"
        ? failure(new EvergrantError(given, "as the test says"))
        : success(
            typeof given === "number"
              ? { ...facts, expiresAt: epochMs(wall + given) }
              : { ...facts, ...given },
          );
    answer({ kind: "obtained", op: effect.op, provider, requests: 1, outcome });
  }
}
