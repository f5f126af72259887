/**
 * A process of its own for one login: makes SPNEGO tokens with the GSSAPI. The library takes its
 * credential cache and configuration from the process's environment and blocks a thread while it
 * waits for a KDC, so one process serves one login and is killed to end a call (docs/adr).
 * Asked over the IPC channel; ends when its parent does.
 */
import { readFileSync, writeFileSync } from "node:fs";

/** `spn` is host-based: `HTTP@nn1.example.com`. */
interface Ask {
  readonly id: number;
  readonly spn: string;
}

/** What is used of the `kerberos` package, which is optional and so has no types at hand. */
interface Gssapi {
  readonly GSS_MECH_OID_SPNEGO: number;
  initializeClient(
    spn: string,
    options: { mechOID: number },
  ): Promise<{ step(challenge: string): Promise<string> }>;
}

let gssapi: Gssapi | undefined;
try {
  const packageName = "kerberos";
  const loaded = (await import(packageName)) as { default?: Gssapi } & Gssapi;
  gssapi = loaded.default ?? loaded;
} catch {
  gssapi = undefined;
}

/** The library appends to this file; it is emptied for each ask, so that what it holds is of that one. */
const traceFile = process.env["KRB5_TRACE"] ?? "";

async function answer({ id, spn }: Ask): Promise<void> {
  try {
    if (gssapi === undefined) return void process.send?.({ id, failure: "no-library" });
    writeFileSync(traceFile, "", { mode: 0o600 });
    const client = await gssapi.initializeClient(spn, { mechOID: gssapi.GSS_MECH_OID_SPNEGO });
    process.send?.({ id, token: await client.step("") });
  } catch {
    // The text is of no use to a program; the trace file has the codes.
    process.send?.({ id, failure: "gss", trace: readTrace() });
  }
}

function readTrace(): string {
  try {
    return readFileSync(traceFile, "utf8");
  } catch {
    return "";
  }
}

/** One at a time, for the trace's sake; the library would hold most of it up anyway. */
let last = Promise.resolve();
process.on("message", (ask: Ask) => {
  last = last.then(() => answer(ask));
});
process.on("disconnect", () => process.exit(0));
process.send?.({ ready: true });
