/**
 * Logins for the life of a provider, and negotiators for the length of one of its calls: one of each
 * for one identity, shared by its services. A login that fails, fails for its own services only.
 */
import { join } from "node:path";
import type { LoggedIn, Login } from "./login.ts";
import type { Negotiator } from "./negotiator.ts";
import type { LoginOptions } from "./options.ts";

export interface SessionTools {
  openLogin(options: LoginOptions, folder: string): Pick<Login, "ensure" | "close">;
  openNegotiator(login: LoggedIn, traceFile: string, signal: AbortSignal): Negotiator;
}

export interface SessionContext {
  readonly freshIdentity: boolean;
  readonly signal: AbortSignal;
}

/** The negotiators of one call. */
export interface Sessions {
  /** Rejects as logging in does. */
  of(options: LoginOptions): Promise<Negotiator>;
  /** Ends them all. */
  close(): void;
}

export class Logins {
  readonly #tools: SessionTools;
  readonly #workDir: string;
  readonly #logins = new Map<string, Pick<Login, "ensure" | "close">>();
  #negotiators = 0;

  constructor(tools: SessionTools, workDir: string) {
    this.#tools = tools;
    this.#workDir = workDir;
  }

  begin(context: SessionContext): Sessions {
    const open = new Map<string, Promise<Negotiator>>();
    return {
      of: (options) => {
        const key = JSON.stringify(options);
        const session = open.get(key) ?? this.#open(key, options, context);
        open.set(key, session);
        return session;
      },
      close: () => {
        for (const session of open.values()) {
          session.then(
            (negotiator) => negotiator.close(),
            () => undefined,
          );
        }
      },
    };
  }

  async close(): Promise<void> {
    await Promise.all([...this.#logins.values()].map((login) => login.close()));
  }

  async #open(key: string, options: LoginOptions, context: SessionContext): Promise<Negotiator> {
    let login = this.#logins.get(key);
    if (login === undefined) {
      login = this.#tools.openLogin(options, join(this.#workDir, `login-${this.#logins.size + 1}`));
      this.#logins.set(key, login);
    }
    const loggedIn = await login.ensure(context.freshIdentity, context.signal);
    this.#negotiators += 1;
    const trace = join(this.#workDir, `spnego-${this.#negotiators}.trace`);
    return this.#tools.openNegotiator(loggedIn, trace, context.signal);
  }
}

/** The work's outcome, or `otherwise` once the signal has aborted. The work itself is not ended. */
export async function unlessAborted<T>(
  signal: AbortSignal,
  work: Promise<T>,
  otherwise: () => Error,
): Promise<T> {
  let abort = (): void => undefined;
  const aborted = new Promise<never>((_, reject) => {
    abort = () => reject(otherwise());
    if (signal.aborted) abort();
    else signal.addEventListener("abort", abort, { once: true });
  });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener("abort", abort);
    work.catch(() => undefined); // nobody waits for it any more
  }
}
