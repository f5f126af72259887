/**
 * An agent's world under the test's hand: its ports answer when the test says so, its clock moves
 * when the test says so, and every call is counted. The agent in it is the real core and driver.
 */
import type { Bundle, Tombstone } from "../../../src/protocol/bundle.ts";
import { type Credential, expiryOnCoordinatorClock } from "../../../src/protocol/credential.ts";
import { toBase64Url } from "../../../src/protocol/encoding.ts";
import { type ErrorCode, EvergrantError } from "../../../src/protocol/errors.ts";
import type { SigningKey } from "../../../src/protocol/keys.ts";
import type { Version } from "../../../src/protocol/names.ts";
import type { Notice } from "../../../src/protocol/notice.ts";
import { type Done, failure, success } from "../../../src/protocol/outcome.ts";
import type { RegisterAnswer } from "../../../src/protocol/register.ts";
import type { Ack, Beat, Demand, Report } from "../../../src/protocol/report.ts";
import { Secret } from "../../../src/protocol/secret.ts";
import { durationMs, epochMs } from "../../../src/protocol/time.ts";
import type { News } from "../../../src/worker-agent/core/events.ts";
import { type AgentSettings, DEFAULT_TIMINGS } from "../../../src/worker-agent/core/settings.ts";
import type { AgentRecord } from "../../../src/worker-agent/ports/agent-store.ts";
import type {
  LinkEvent,
  RegisterRequest,
} from "../../../src/worker-agent/ports/coordinator-link.ts";
import type { Serving } from "../../../src/worker-agent/ports/credential-receiver.ts";
import { driveAgent } from "../../../src/worker-agent/runtime/agent-driver.ts";
import { ManualClock } from "../../support/manual-clock.ts";

const KEY = toBase64Url(new Uint8Array(32));
const FAKE_KEY: SigningKey = {
  kid: "own",
  jwk: { kty: "OKP", crv: "Ed25519", x: KEY, d: KEY },
};
export const HOUR = 3_600_000;

export interface Pending<T> {
  readonly done: Done<T>;
}

export interface Call {
  readonly receiver: string;
  readonly does: "start" | "apply" | "withdraw";
  readonly serving?: Serving;
  readonly done: Done<void>;
}

/** What a fake sealed bundle stands for; its bytes are its index. */
export type Sealed = Bundle | { readonly fault: ErrorCode };

export class World {
  readonly clock = new ManualClock();
  /** The coordinator's clock less this machine's wall clock at the start. */
  skew = 0;
  readonly registers: (RegisterRequest & Pending<RegisterAnswer>)[] = [];
  readonly reports: Report[] = [];
  readonly calls: Call[] = [];
  readonly news: News[] = [];
  onNews: ((news: News) => void) | undefined;
  readonly persisted: (AgentRecord & Pending<void>)[] = [];
  readonly faults: unknown[] = [];
  /** Receivers that were called while they were busy: always empty, or the core is wrong. */
  readonly doubled: string[] = [];
  readonly #busy = new Set<string>();
  /** Answers of the receivers and the store by default: at once. */
  receiversAnswer: boolean;
  storeAnswers = true;
  /** When false, what is handed to the opener stays there until `openAll`. */
  openerAnswers = true;
  readonly opening: (() => void)[] = [];
  reportsFail = false;
  readonly #sealed: Sealed[] = [];
  readonly #coordinatorStart: number;
  readonly #monoStart: number;
  #emit: (event: LinkEvent) => void = () => undefined;
  readonly driver;

  constructor(
    settings: Partial<AgentSettings> = {},
    skew = 0,
    receiversAnswer = true,
    { started = true } = {},
  ) {
    this.receiversAnswer = receiversAnswer;
    this.skew = skew;
    this.#coordinatorStart = this.clock.now().wall + skew;
    this.#monoStart = this.clock.now().mono;
    this.driver = driveAgent({
      tenant: "default",
      job: "etl",
      key: new Secret(FAKE_KEY),
      settings: {
        agent: "a1",
        instance: "i1",
        receivers: [],
        convention: [{ kind: "probe", serves: ["*"] }],
        providers: [],
        persistent: false,
        ticket: undefined,
        highest: { term: 0, generation: 0 },
        timings: DEFAULT_TIMINGS,
        ...settings,
      },
      ports: {
        clock: this.clock,
        link: {
          listen: (emit) => {
            this.#emit = emit;
          },
          register: (request, done) => void this.registers.push({ ...request, done }),
          report: (report, _macKey, done) => {
            if (this.reportsFail) {
              done(failure(new EvergrantError("BROKER_UNAVAILABLE", "test")));
              return;
            }
            this.reports.push(report);
            done(success(undefined));
          },
          close: (done) => done(success(undefined)),
        },
        opener: {
          open: (bytes, { now, groups }, done) => {
            const sealed = this.#sealed[bytes[0] ?? -1];
            if (sealed === undefined) throw new Error("no such bundle");
            const fault =
              "fault" in sealed
                ? sealed.fault
                : sealed.expiresAt <= now
                  ? "MESSAGE_EXPIRED"
                  : groups.length === 0
                    ? "KEY_UNKNOWN"
                    : undefined;
            const answer = (): void => {
              if (fault !== undefined) done(failure(new EvergrantError(fault, "test")));
              else if (!("fault" in sealed)) done(success(sealed));
            };
            if (this.openerAnswers) answer();
            else this.opening.push(answer);
          },
        },
        store: {
          restore: (done) => done(success(undefined)),
          persist: (record, done) => {
            this.persisted.push({ ...record, done });
            if (this.storeAnswers) done(success(undefined));
          },
        },
        receivers: {
          start: (receiver, _spec, done) => this.#call({ receiver, does: "start", done }),
          apply: (receiver, serving, done) =>
            this.#call({ receiver, does: "apply", serving, done }),
          withdraw: (receiver, _provider, done) => this.#call({ receiver, does: "withdraw", done }),
          stop: (done) => done(success(undefined)),
        },
      },
      tell: (news) => {
        this.news.push(news);
        this.onNews?.(news);
      },
      fault: (thrown) => void this.faults.push(thrown),
    });
    if (started) this.driver.start();
  }

  #call({ done, ...what }: Call): void {
    const { receiver } = what;
    if (this.#busy.has(receiver)) this.doubled.push(receiver);
    this.#busy.add(receiver);
    let answered = false;
    const call: Call = {
      ...what,
      done: (outcome) => {
        if (answered) return;
        answered = true;
        this.#busy.delete(receiver);
        done(outcome);
      },
    };
    this.calls.push(call);
    if (this.receiversAnswer) call.done(success(undefined));
  }

  /** The coordinator's clock now. It never steps. */
  coordinatorNow(): number {
    return this.#coordinatorStart + (this.clock.now().mono - this.#monoStart);
  }

  link(event: LinkEvent): void {
    this.#emit(event);
  }

  connect(): void {
    this.link({ kind: "connected" });
  }

  credential(
    provider: string,
    generation: number,
    life: number = HOUR,
    text = `secret-${provider}-${generation}`,
  ): Credential {
    return {
      provider,
      kind: "test",
      generation,
      issuedAt: epochMs(this.coordinatorNow()),
      expiresAt: epochMs(this.coordinatorNow() + life),
      issuerSkew: durationMs(0),
      attributes: {},
      material: new Secret({ text }),
    };
  }

  bundle(
    version: Version,
    credentials: readonly Credential[],
    tombstones: readonly Tombstone[] = [],
  ): Bundle {
    const ends = credentials.map(expiryOnCoordinatorClock);
    const sealedAt = this.coordinatorNow();
    return {
      tenant: "default",
      job: "etl",
      ...version,
      sealedAt: epochMs(sealedAt),
      expiresAt: epochMs(ends.length === 0 ? sealedAt + 24 * HOUR : Math.max(...ends)),
      credentials,
      tombstones,
    };
  }

  seal(bundle: Sealed): Uint8Array {
    this.#sealed.push(bundle);
    return Uint8Array.of(this.#sealed.length - 1);
  }

  broadcast(bundle: Sealed): void {
    this.link({ kind: "bundle", sealed: this.seal(bundle) });
  }

  openAll(): void {
    for (const answer of this.opening.splice(0)) answer();
  }

  push(bundle: Sealed): void {
    this.link({ kind: "bundle", sealed: this.seal(bundle) });
  }

  notice(what: Notice["what"], term: number, sequence: number): void {
    const head = { v: 1, tenant: "default", job: "etl" } as const;
    const timeMs = this.coordinatorNow();
    this.link({ kind: "notice", notice: { ...head, term, sequence, timeMs, what } });
  }

  /** Answers the last register request. */
  accept(
    version: Version,
    bundle?: Bundle,
    more: { readonly groups?: readonly string[]; readonly timeMs?: number } = {},
  ): void {
    const request = this.registers.at(-1);
    if (request === undefined) throw new Error("no register request");
    request.done(
      success({
        accepted: true,
        body: {
          v: 1,
          nonce: KEY,
          ...version,
          timeMs: more.timeMs ?? this.coordinatorNow(),
          groupKeys: (more.groups ?? ["k1"]).map((kid) => ({ kid, key: KEY })),
          macKey: KEY,
          ticket: "ticket-1",
          beatMs: 15_000,
        },
        ...(bundle === undefined ? {} : { bundle: this.seal(bundle) }),
      }),
    );
  }

  refuse(code: string): void {
    const timeMs = this.coordinatorNow();
    this.registers.at(-1)?.done(success({ accepted: false, code, timeMs }));
  }

  fail(code: ErrorCode): void {
    this.registers.at(-1)?.done(failure(new EvergrantError(code, "test")));
  }

  /** Connects and registers with this bundle. */
  join(bundle: Bundle): void {
    this.connect();
    this.accept(bundle, bundle);
  }

  does(what: Call["does"]): readonly Call[] {
    return this.calls.filter(({ does }) => does === what);
  }

  acks(): readonly Ack[] {
    return this.reports.filter((report) => report.type === "ack");
  }

  beats(): readonly Beat[] {
    return this.reports.filter((report) => report.type === "beat");
  }

  demands(): readonly Demand[] {
    return this.reports.filter((report) => report.type === "demand");
  }

  refused(code: ErrorCode): number {
    return this.driver.health().refused[code] ?? 0;
  }
}

export const broken = (code: ErrorCode = "RECEIVER_FAILED") =>
  failure(new EvergrantError(code, "test"));
export const fine = success<void>(undefined);
