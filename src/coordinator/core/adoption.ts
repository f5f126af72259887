/** Taking up a provider at the start of a leadership: what the state says is adopted without an issuer call, wherever it can be. */
import type { Reason } from "../../protocol/control.ts";
import { between, durationMs, later, type MonoMs } from "../../protocol/time.ts";
import { jobTime, monoOf, plus, type Turn } from "./core.ts";
import type { ProviderRecord } from "./job-state.ts";
import { noteLifetime, type ProviderRun, recordOf } from "./provider-run.ts";
import { MIN_CALL_GAP } from "./settings.ts";

/** At the start of a leadership: takes up what the state says, without calling the issuer if it can. */
export function adopt(turn: Turn, run: ProviderRun): void {
  const { now, core } = turn;
  const record = recordOf(core.writer.truth, run.settings.name);
  const { phase } = run;
  const own =
    phase.kind !== "idle" && phase.kind !== "waiting-out" && phase.nonce === record?.intent?.nonce;
  takeUpCredential(turn, run, record);
  if (own && phase.kind === "calling") return;
  // I11 holds across coordinators: a predecessor may have called a moment ago.
  if (record !== undefined && record.counts.calls > 0) run.notBefore = plus(now.mono, MIN_CALL_GAP);
  if (own && (phase.kind === "obtained" || phase.kind === "recording")) {
    run.phase = { ...phase, kind: "obtained" };
    return;
  }
  if (record?.intent !== undefined) {
    // No double issue: the call of whoever wrote this may still be under way.
    run.phase = { kind: "waiting-out", until: plus(now.mono, record.intent.duration) };
    run.next = undefined;
    return;
  }
  run.phase = { kind: "idle" };
  const plan = (reason: Reason, at: MonoMs = now.mono): void => {
    run.next = { at, reason, queued: at > now.mono, fired: false };
  };
  if (record?.credential === undefined || run.expires === undefined) plan("initial");
  else if (record.configDigest !== run.settings.configDigest) plan("config");
  else if (record.attempt > 0) plan("retry");
  else plan("scheduled", monoOf(turn, record.renewAt ?? jobTime(turn)));
}

function takeUpCredential(turn: Turn, run: ProviderRun, record: ProviderRecord | undefined): void {
  const credential = record?.credential;
  if (credential === undefined) {
    run.expires = undefined;
    run.lifetime = undefined;
    return;
  }
  run.skew = credential.issuerSkew;
  noteLifetime(run, between(credential.issuedAt, credential.expiresAt));
  run.expires = monoOf(turn, later(credential.expiresAt, durationMs(-credential.issuerSkew)));
}
