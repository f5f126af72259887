/**
 * The HTTP layer that Google's library is given for one attempt. Owns that nothing is retried or
 * redirected, whatever the library asks for, that each request is counted before it is sent (I3), and
 * what the library hides: the Date header, error bodies and their codes.
 */
import { gaxios } from "google-auth-library";
import {
  between,
  type Clock,
  type DurationMs,
  durationMs,
  type EpochMs,
  epochMs,
} from "../../../protocol/time.ts";
import type { FailedStep, Step } from "./errors.ts";

const LARGEST_BODY = 1024 * 1024;

/** What one attempt lends to each of its requests. */
export interface GoogleCall {
  readonly signal: AbortSignal;
  readonly clock: Clock;
  countRequest(): void;
}

/** An answer that was a success. */
export interface StepAnswer {
  readonly body: Readonly<Record<string, unknown>>;
  /** The issuer's clock at its answer. */
  readonly date: EpochMs | undefined;
}

/** Thrown into the library, which rewrites what errors say: the facts are kept in `failed`. */
class StepFailed extends Error {}

export class GoogleTransport extends gaxios.Gaxios {
  readonly #call: GoogleCall;
  readonly #secrets: string[] = [];
  #step: Step = "exchange";
  /** The answer of the last step that succeeded. */
  answered: StepAnswer | undefined;
  /** What ended the attempt. */
  failed: FailedStep | undefined;
  /** The issuer's clock less the coordinator's, by the last answer that told it. */
  skew: DurationMs | undefined;

  constructor(call: GoogleCall) {
    super();
    this.#call = call;
  }

  /** From now on requests belong to this step, and carry these secrets. */
  begin(step: Step, ...secrets: string[]): void {
    this.#step = step;
    this.#secrets.push(...secrets);
    this.answered = undefined;
  }

  override async request<T>(options: gaxios.GaxiosOptions = {}): Promise<gaxios.GaxiosResponse<T>> {
    const { signal, clock } = this.#call;
    const at = { step: this.#step, endpoint: options.url === undefined ? "" : hostOf(options.url) };
    if (signal.aborted) throw this.#fail({ ...at, kind: "aborted" });
    this.#call.countRequest();
    let answer: gaxios.GaxiosResponse<T>;
    try {
      answer = await super.request<T>({
        ...options,
        retry: false,
        retryConfig: { retry: 0, noResponseRetries: 0 },
        redirect: "manual",
        responseType: "json",
        maxContentLength: LARGEST_BODY,
        validateStatus: () => true,
        signal,
      });
    } catch (thrown) {
      if (signal.aborted) throw this.#fail({ ...at, kind: "aborted" });
      throw this.#fail({ ...at, kind: "unanswered", reason: reasonOf(thrown) });
    }
    const date = dateOf(answer.headers.get("date"));
    if (date !== undefined) this.skew = durationMs(between(clock.now().wall, date));
    const body: unknown = answer.data;
    const { status } = answer;
    if (status >= 200 && status < 300 && isObject(body)) {
      this.answered = { body, date };
      return answer;
    }
    throw this.#fail({
      ...at,
      kind: "refused",
      httpStatus: status,
      ...readRefusal(body),
      secrets: this.#secrets,
      skew: this.skew,
    });
  }

  #fail(failed: FailedStep): StepFailed {
    this.failed = failed;
    return new StepFailed(failed.kind);
  }
}

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const hostOf = (url: string | URL): string => new URL(url).host;

function dateOf(header: string | null): EpochMs | undefined {
  const parsed = header === null ? Number.NaN : Date.parse(header);
  return Number.isNaN(parsed) ? undefined : epochMs(parsed);
}

/** A code, as far as it has the form of one: it goes into messages. */
const codeIn = (value: unknown): string | undefined =>
  typeof value === "string" && /^\w{1,60}$/.test(value) ? value : undefined;
const textIn = (value: unknown): string => (typeof value === "string" ? value : "");

/** `{error, error_description}` of STS, or `{error: {status, message}}` of all other services. */
function readRefusal(body: unknown): {
  readonly googleCode: string | undefined;
  readonly text: string;
} {
  const error = isObject(body) ? body["error"] : undefined;
  if (isObject(error)) {
    return { googleCode: codeIn(error["status"]), text: textIn(error["message"]) };
  }
  const text = isObject(body) ? textIn(body["error_description"]) : "";
  return { googleCode: codeIn(error), text };
}

/** Node's own code, wherever fetch and the library have put it. */
function reasonOf(thrown: unknown): string | undefined {
  for (let at = thrown, depth = 0; isObject(at) && depth < 5; at = at["cause"], depth += 1) {
    const code = at["code"];
    if (typeof code === "string" && /^[A-Z][A-Z0-9_]{2,60}$/.test(code)) return code;
  }
  return undefined;
}
