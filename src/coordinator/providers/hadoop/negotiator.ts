/**
 * Makes `Authorization: Negotiate` tokens for one login by way of spnego-child.ts. Owns that
 * process's life and what its failures mean; refuses to know HTTP.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { rm } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { EvergrantError } from "../../../protocol/errors.ts";
import { judgeTrace } from "./krb5-codes.ts";
import { krb5Environment, type LoggedIn } from "./login.ts";

/** The running sources are TypeScript, the published ones are not. */
const EXTENSION = import.meta.url.endsWith(".ts") ? "ts" : "js";
const CHILD = fileURLToPath(new URL(`./spnego-child.${EXTENSION}`, import.meta.url));

export interface Negotiator {
  /**
   * A fresh token for the server; each is good for one request.
   * @throws ISSUER_IDENTITY_REJECTED, ISSUER_UNAVAILABLE, ISSUER_REQUEST_INVALID, ISSUER_DENIED;
   * ISSUER_TIMEOUT when aborted; PLUGIN_UNUSABLE without the `kerberos` package.
   */
  token(spn: string): Promise<string>;
  /** Ends the process. */
  close(): void;
}

type Answer =
  | { readonly ready: true }
  | { readonly id: number; readonly token: string }
  | { readonly id: number; readonly failure: "no-library" }
  | { readonly id: number; readonly failure: "gss"; readonly trace: string };

interface Waiting {
  resolve(token: string): void;
  reject(error: unknown): void;
}

/** @param traceFile a private path of this negotiator's own. */
export function openNegotiator(
  login: LoggedIn,
  traceFile: string,
  signal: AbortSignal,
): Negotiator {
  const child: ChildProcess = spawn(process.execPath, [CHILD], {
    env: {
      ...krb5Environment(login),
      KRB5CCNAME: `FILE:${login.cachePath}`,
      KRB5_TRACE: traceFile,
    },
    stdio: ["ignore", "ignore", "ignore", "ipc"],
  });
  const waiting = new Map<number, Waiting>();
  let nextId = 1;
  let ended: EvergrantError | undefined;

  const end = (error: EvergrantError): void => {
    ended ??= error;
    signal.removeEventListener("abort", abort);
    child.kill("SIGKILL");
    for (const { reject } of waiting.values()) reject(ended);
    waiting.clear();
    void rm(traceFile, { force: true });
  };
  const abort = (): void =>
    end(new EvergrantError("ISSUER_TIMEOUT", "Kerberos did not answer in time"));
  const settle = (answer: Answer): void => {
    if ("ready" in answer) return;
    const asked = waiting.get(answer.id);
    waiting.delete(answer.id);
    if (asked === undefined) return;
    if ("token" in answer) asked.resolve(answer.token);
    else asked.reject(answer.failure === "gss" ? refused(answer.trace) : noLibrary());
  };

  child.on("message", settle);
  child.on("error", (cause) =>
    end(new EvergrantError("PROVIDER_FAILED", "the SPNEGO process can't be started", { cause })),
  );
  child.on("exit", () =>
    end(new EvergrantError("PROVIDER_FAILED", "the SPNEGO process has ended")),
  );
  if (signal.aborted) abort();
  else signal.addEventListener("abort", abort);

  return {
    token: (spn) =>
      new Promise((resolve, reject) => {
        if (ended !== undefined) return reject(ended);
        const id = nextId;
        nextId += 1;
        waiting.set(id, { resolve, reject });
        child.send({ id, spn });
      }),
    close: () => end(new EvergrantError("PROVIDER_FAILED", "the negotiator is closed")),
  };
}

function noLibrary(): EvergrantError {
  const message = "the optional package `kerberos` can't be loaded; install it with libkrb5";
  return new EvergrantError("PLUGIN_UNUSABLE", message);
}

function refused(trace: string): EvergrantError {
  const { code, krb5Code } = judgeTrace(trace);
  const number = krb5Code === undefined ? "" : ` (Kerberos error ${krb5Code})`;
  return new EvergrantError(code, `no ticket for the server${number}`, {
    details: krb5Code === undefined ? {} : { krb5Code },
  });
}
