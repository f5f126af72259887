/**
 * One identity at one KDC: a private credential cache that MIT's kinit fills from a keytab, or a
 * cache that something else fills. Owns when to log in again; refuses to know what tickets are for.
 */
import { spawn } from "node:child_process";
import { mkdir, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { EvergrantError } from "../../../protocol/errors.ts";
import { type CancelTimer, type Clock, durationMs } from "../../../protocol/time.ts";
import { cacheFacts, keytabPrincipals } from "./kerberos-files.ts";
import { judgeTrace } from "./krb5-codes.ts";
import type { LoginOptions } from "./options.ts";

/** Logs in again when this part of the ticket's life is over, as Hadoop's own clients do. */
const TICKET_RATIO = 0.8;
/** How often the ticket's age is looked at, in between the calls. */
const CHECK_EVERY = durationMs(60_000);
/** A login in the background that takes longer is given up; the next check tries again. */
const BACKGROUND_LIMIT = durationMs(30_000);

/** What a Kerberos library needs to act as the identity. */
export interface LoggedIn {
  readonly cachePath: string;
  readonly krb5Config: string | undefined;
}

export interface LoginServices {
  readonly clock: Clock;
  /** A private folder of this login's own. */
  readonly folder: string;
  readonly kinit: string;
  log(level: "info" | "warn", message: string, facts?: Readonly<Record<string, unknown>>): void;
}

/** The environment of Kerberos programs: this process's, less what would lead them to another identity. */
export function krb5Environment(login: {
  readonly krb5Config: string | undefined;
}): NodeJS.ProcessEnv {
  const {
    KRB5CCNAME: _c,
    KRB5_KTNAME: _k,
    KRB5_CLIENT_KTNAME: _t,
    NODE_OPTIONS: _n,
    ...rest
  } = process.env;
  return { ...rest, ...(login.krb5Config === undefined ? {} : { KRB5_CONFIG: login.krb5Config }) };
}

export class Login {
  readonly #options: LoginOptions;
  readonly #services: LoginServices;
  readonly #cachePath: string;
  #running: Promise<void> | undefined;
  #check: CancelTimer | undefined;
  #closed = false;

  constructor(options: LoginOptions, services: LoginServices) {
    this.#options = options;
    this.#services = services;
    this.#cachePath = options.ticketCache ?? join(services.folder, "ccache");
  }

  /**
   * A cache with a ticket that is good. Logs in when there is none, it is near its end, or `fresh`;
   * calls that come together share one login.
   * @throws PROVIDER_INPUT_MISSING, ISSUER_* as krb5-codes.ts judges, ISSUER_TIMEOUT when aborted.
   */
  async ensure(fresh: boolean, signal: AbortSignal): Promise<LoggedIn> {
    const { ticketCache, krb5Config } = this.#options;
    if (ticketCache !== undefined) await this.#inspectForeign(ticketCache);
    else if (fresh || !(await this.#isGood())) await this.#once(signal);
    this.#watch();
    return { cachePath: this.#cachePath, krb5Config };
  }

  /** Removes the private cache and stops looking at it. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#check?.();
    await this.#running?.catch(() => undefined);
    if (this.#options.ticketCache === undefined) await rm(this.#cachePath, { force: true });
  }

  async #isGood(): Promise<boolean> {
    try {
      const facts = cacheFacts(await readFile(this.#cachePath), this.#cachePath);
      const { startsAt, endsAt } = facts;
      if (startsAt === undefined || endsAt === undefined) return false;
      if (facts.principal !== this.#options.principal) return false;
      return this.#services.clock.now().wall < startsAt + TICKET_RATIO * (endsAt - startsAt);
    } catch {
      return false;
    }
  }

  async #inspectForeign(path: string): Promise<void> {
    const bytes = await readFile(path).catch((cause: unknown) => {
      throw missing(`the credential cache ${path} can't be read`, cause);
    });
    const facts = cacheFacts(bytes, path);
    if (facts.principal !== this.#options.principal) {
      throw missing(`the credential cache ${path} is of ${facts.principal}`);
    }
    if (facts.endsAt === undefined || facts.endsAt <= this.#services.clock.now().wall) {
      throw missing(`the ticket in ${path} has ended: whoever keeps it must renew it`);
    }
  }

  #once(signal: AbortSignal): Promise<void> {
    this.#running ??= this.#kinit(signal).finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  async #kinit(signal: AbortSignal): Promise<void> {
    const { principal, keytab = "" } = this.#options;
    const { folder } = this.#services;
    const bytes = await readFile(keytab).catch((cause: unknown) => {
      throw missing(`the keytab ${keytab} can't be read`, cause);
    });
    if (!keytabPrincipals(bytes, keytab).has(principal)) {
      throw missing(`the keytab ${keytab} has no key of ${principal}`);
    }
    await mkdir(folder, { recursive: true, mode: 0o700 });
    // A cache of its own first: whoever reads meanwhile finds the old ticket whole.
    const next = `${this.#cachePath}.next`;
    const trace = join(folder, "kinit.trace");
    await rm(trace, { force: true });
    try {
      const done = await run(
        this.#services.kinit,
        ["-k", "-t", keytab, "-c", `FILE:${next}`, principal],
        { ...krb5Environment(this.#options), KRB5_TRACE: trace },
        signal,
      );
      if (!done) {
        const { code, krb5Code } = judgeTrace(await readFile(trace, "utf8").catch(() => ""));
        const number = krb5Code === undefined ? "" : ` (Kerberos error ${krb5Code})`;
        throw new EvergrantError(code, `logging in as ${principal} failed${number}`, {
          details: krb5Code === undefined ? {} : { krb5Code },
        });
      }
      await rename(next, this.#cachePath);
    } finally {
      await rm(trace, { force: true });
      await rm(next, { force: true });
    }
  }

  /** Looks at the ticket every minute from the first use on, so that a call seldom has to log in first. */
  #watch(): void {
    if (this.#check !== undefined || this.#closed || this.#options.ticketCache !== undefined)
      return;
    const { clock } = this.#services;
    const arm = (): void => {
      if (!this.#closed) this.#check = clock.timer(CHECK_EVERY, () => void look(), true);
    };
    const look = async (): Promise<void> => {
      const limit = new AbortController();
      const cancel = clock.timer(BACKGROUND_LIMIT, () => limit.abort(), true);
      try {
        if (!(await this.#isGood())) await this.#once(limit.signal);
      } catch (error) {
        const { code } = EvergrantError.from(error, "PROVIDER_FAILED", "logging in");
        this.#services.log("warn", "logging in again failed; it is tried every minute", {
          principal: this.#options.principal,
          code,
        });
      } finally {
        cancel();
        arm();
      }
    };
    arm();
  }
}

function missing(message: string, cause?: unknown): EvergrantError {
  return new EvergrantError("PROVIDER_INPUT_MISSING", message, { cause });
}

/** Whether the program ended with status 0. @throws ISSUER_TIMEOUT when aborted, PROVIDER_INPUT_MISSING when it can't be started. */
function run(
  program: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv,
  signal: AbortSignal,
): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { env, stdio: "ignore", signal, killSignal: "SIGKILL" });
    child.on("error", (cause) =>
      reject(
        signal.aborted
          ? new EvergrantError("ISSUER_TIMEOUT", `${program} did not end in time`, { cause })
          : missing(`${program} can't be started`, cause),
      ),
    );
    child.on("exit", (status) => resolve(status === 0));
  });
}
