/**
 * What is held: per provider the credential of the newest bundle. A credential that is absent from
 * a bundle stays; only its own expiry or a tombstone removes it. What is past its expiry is gone
 * from here before anything else is decided (I2).
 */
import type { Bundle } from "../../protocol/bundle.ts";
import type { Credential } from "../../protocol/credential.ts";
import { between, type MonoMs, monoMs, type Now } from "../../protocol/time.ts";
import { deadlineOf, moveClockForward } from "./clock-estimate.ts";
import type { AgentEvent, Held } from "./events.ts";
import { wantKeys } from "./joining.ts";
import { judge } from "./order.ts";
import { sameContent } from "./sameness.ts";
import { type AgentState, addReceiver, countRefused, type Out } from "./state.ts";

type Of<Kind extends AgentEvent["kind"]> = Extract<AgentEvent, { kind: Kind }>;

export function onOpened(state: AgentState, event: Of<"opened">, now: Now, out: Out): void {
  const opening = state.opening.get(event.attempt);
  if (opening === undefined) return;
  state.opening.delete(event.attempt);
  const { bundle } = event;
  moveClockForward(state, bundle.sealedAt, now);
  switch (judge(state, bundle)) {
    case "older":
      countRefused(state, "MESSAGE_REPLAYED", out);
      return;
    case "repeat":
      state.bundleAt = now.mono;
      // The coordinator has missed our ack, or it would not repeat itself.
      state.acked = undefined;
      return;
    case "newer":
      accept(state, bundle, opening.arrivedAt, now, out);
  }
}

export function onUnopened(state: AgentState, event: Of<"unopened">, now: Now, out: Out): void {
  const opening = state.opening.get(event.attempt);
  if (opening === undefined) return;
  state.opening.delete(event.attempt);
  countRefused(state, event.code, out);
  const mends = event.code === "KEY_UNKNOWN" || event.code === "MESSAGE_EXPIRED";
  if (!mends || opening.waited) return;
  // Sealed by our job under a group key that we were not given yet, or past its expiry by a clock
  // that a former coordinator may have set wrong: a registration mends both. Never as fast as
  // somebody can play such bundles to us.
  state.early = opening;
  wantKeys(state, now);
}

function accept(state: AgentState, bundle: Bundle, arrivedAt: MonoMs, now: Now, out: Out): void {
  const { term, generation } = bundle;
  state.accepted = { term, generation };
  state.bundleAt = now.mono;
  state.expected = bundle.credentials.map(({ provider }) => provider);
  out.push({
    kind: "tell",
    news: { kind: "accepted", version: state.accepted, providers: state.expected },
  });
  for (const credential of bundle.credentials) {
    hold(state, credential, arrivedAt, now, out);
    addByConvention(state, credential);
  }
  for (const tombstone of bundle.tombstones) {
    const held = state.held.get(tombstone.provider);
    if (held === undefined || held.credential.generation > tombstone.generation) continue;
    state.held.delete(tombstone.provider);
    out.push({
      kind: "tell",
      news: {
        kind: "withdrawn",
        provider: tombstone.provider,
        generation: held.credential.generation,
      },
    });
  }
}

function hold(
  state: AgentState,
  credential: Credential,
  arrivedAt: MonoMs,
  now: Now,
  out: Out,
): void {
  const before = state.held.get(credential.provider);
  if (before !== undefined && sameContent(before.credential, credential)) {
    state.generations.set(credential.provider, credential.generation);
    return;
  }
  const until = deadlineOf(state, credential, now);
  // A coordinator that can't renew goes on to send what has expired: what we hold may be better.
  if (until <= now.mono) return;
  state.held.set(credential.provider, { credential, until, arrivedAt });
  state.generations.delete(credential.provider);
  if (before !== undefined && before.until > until) {
    const news = { kind: "shortened", provider: credential.provider } as const;
    out.push({ kind: "tell", news: { ...news, by: between(until, before.until) } });
  }
}

function addByConvention(state: AgentState, { provider, kind }: Credential): void {
  for (const convention of state.settings.convention) {
    if (!convention.serves.includes(kind) && !convention.serves.includes("*")) continue;
    if (state.receivers.has(`${convention.kind}/${provider}`)) continue;
    addReceiver(state, { kind: convention.kind, provider });
  }
}

/** Renewals come at 75 % of a credential's life: with less than this share left, somebody should know. */
const LOW_SHARE = 0.1;

/** When little of its life is left. */
function lowAt({ credential, until }: Held): MonoMs {
  const life = Math.max(0, between(credential.issuedAt, credential.expiresAt));
  return monoMs(until - LOW_SHARE * life);
}

/** I2: drops what has expired. Before that it says, once, that nothing newer has come. */
export function advanceHolding(state: AgentState, now: Now, out: Out): void {
  for (const [provider, held] of state.held) {
    const { until } = held;
    const { generation } = held.credential;
    if (until <= now.mono) {
      state.held.delete(provider);
      state.warned.delete(provider);
      out.push({ kind: "tell", news: { kind: "expired", provider, generation } });
    } else if (lowAt(held) <= now.mono && state.warned.get(provider) !== until) {
      state.warned.set(provider, until);
      const left = between(now.mono, until);
      out.push({ kind: "tell", news: { kind: "runway-low", provider, generation, left } });
    }
  }
}

export function holdingDeadline(state: AgentState): MonoMs | undefined {
  let first: MonoMs | undefined;
  for (const [provider, held] of state.held) {
    const at = state.warned.get(provider) === held.until ? held.until : lowAt(held);
    if (first === undefined || at < first) first = at;
  }
  return first;
}
