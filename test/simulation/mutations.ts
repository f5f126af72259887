/** Protections that can be switched off, one at a time. Each `find` must stand exactly once in its file. */
export interface Edit {
  readonly file: string;
  readonly find: string;
  readonly replace: string;
}

export interface Mutation {
  readonly name: string;
  readonly edits: readonly Edit[];
  /** It takes some special misfortune to miss it: more seeds than CI has time for. */
  readonly rare?: true;
}

const core = "src/coordinator/core";
const agent = "src/worker-agent/core";

const one = (name: string, file: string, find: string, replace: string): Mutation => ({
  name,
  edits: [{ file, find, replace }],
});

const rare = (mutation: Mutation): Mutation => ({ ...mutation, rare: true });

export const MUTATIONS: readonly Mutation[] = [
  one(
    "fence deadline: the holder stops before its lease could be taken",
    `${core}/lease.ts`,
    "return held === undefined ? ALWAYS : plus(held.since, (leaseTtl - leaseMargin) as DurationMs);",
    "return held === undefined ? ALWAYS : plus(held.since, (leaseTtl * 100 - leaseMargin) as DurationMs);",
  ),
  one(
    "lease check before the call: the lease covers the issuer's time",
    `${core}/lease.ts`,
    "return plus(now.mono, span) < leaseDeadline(core);",
    "return plus(now.mono, span) > ALWAYS && core.leadership.held !== undefined;",
  ),
  one(
    "intent: it is durable before the issuer is called",
    `${core}/renewal.ts`,
    'case "intending":\n      if (!isDurable(turn, run.phase.seq)) return;',
    'case "intending":',
  ),
  one(
    "no double issue: an open intent is waited out",
    `${core}/adoption.ts`,
    "until: plus(now.mono, record.intent.duration)",
    "until: now.mono",
  ),
  one(
    "adoption: what is fresh is taken up without a call",
    `${core}/adoption.ts`,
    'else plan("scheduled", monoOf(turn, record.renewAt ?? jobTime(turn)));',
    'else plan("scheduled", jobTime(turn) > 0 ? now.mono : monoOf(turn, jobTime(turn)));',
  ),
  one(
    "jitter: it only brings a renewal forward",
    `${core}/plan.ts`,
    "Math.max(0, Math.floor(aim - jitter))",
    "Math.max(0, Math.floor(aim + 5 * jitter))",
  ),
  one(
    "stored jitter: at most two hundredths of the life, from the hash",
    `${core}/plan.ts`,
    "export const JITTER_SHARE = 0.02;",
    "export const JITTER_SHARE = 0.2;",
  ),
  {
    name: "generation check at the agent",
    edits: [
      {
        file: `${agent}/order.ts`,
        find: 'return order > 0 ? "newer" : "older";',
        replace: 'return "newer";',
      },
      {
        file: `${agent}/order.ts`,
        find: 'if (compareVersions(version, state.minimum) < 0) return "older";',
        replace: "",
      },
      {
        file: `${agent}/joining.ts`,
        find: "floor: highestOf(state),",
        replace: "floor: { term: 0, generation: 0 },",
      },
    ],
  },
  one(
    "persist before apply: a restart never falls behind what was applied",
    `${agent}/receiving.ts`,
    "if (!state.settings.persistent || state.accepted === undefined) return true;",
    "if (state.accepted !== undefined || state.accepted === undefined) return true;",
  ),
  {
    name: "reconciler: what the queue has lost is put back",
    edits: [
      {
        file: `${core}/schedule.ts`,
        find: "if (!changed && turn.now.mono < schedule.reconcileAt) {",
        replace: "if (!changed) {",
      },
      {
        file: `${core}/schedule.ts`,
        find: "    wake(turn, schedule.reconcileAt);\n",
        replace: "",
      },
    ],
  },
  one(
    "watchdog: what is overdue is renewed without the queue",
    `${core}/renewal.ts`,
    "if (next.fired ? due(turn, next.at) : due(turn, plus(next.at, grace))) reason = next.reason;",
    "if (grace === 0 || next.fired) if (due(turn, next.at)) reason = next.reason;",
  ),
  one(
    "early-due check: a due waits for the planned moment",
    `${core}/renewal.ts`,
    "if (next.fired ? due(turn, next.at) :",
    "if (next.fired ? true :",
  ),
  one(
    "resend: who has not answered gets it again",
    `${core}/resending.ts`,
    "  push(turn, behind);",
    "  push(turn, behind.slice(0, 0));",
  ),
  {
    name: "anti-entropy: an old beat is answered, and an agent beats when it is back",
    edits: [
      { file: `${agent}/step.ts`, find: "beatSoon(state, now);", replace: "" },
      {
        file: `${core}/resending.ts`,
        find: "push(turn, [agent.agent]);",
        replace: "",
      },
    ],
  },
  one(
    "cooldown: demands are served at its pace",
    `${core}/renewal.ts`,
    "if (demand !== undefined && due(turn, run.cooldown.until))",
    "if (demand !== undefined)",
  ),
  one(
    "rate bound (I11)",
    `${core}/plan.ts`,
    "const last = calls.at(-1);",
    "const last = calls.at(calls.length);",
  ),
  rare(
    one(
      "retry: never more than a third of the remaining life",
      `${core}/plan.ts`,
      "wait = Math.min(wait, facts.remaining / 3);",
      "wait = Math.max(wait, facts.remaining);",
    ),
  ),
  {
    name: "expiry check at serving",
    edits: [
      {
        file: `${agent}/holding.ts`,
        find: "if (until <= now.mono) {",
        replace: "if (until + 600_000 <= now.mono) {",
      },
      {
        file: `${agent}/holding.ts`,
        find: "? held.until : lowAt(held);",
        replace: "? ((held.until + 600_000) as MonoMs) : lowAt(held);",
      },
      {
        file: `${agent}/receiving.ts`,
        find: "(target === undefined || serving.until <= now.mono)",
        replace: "target === undefined",
      },
    ],
  },
  one(
    "expiry by the coordinator's clock: remaining life is fixed at receipt",
    `${agent}/clock-estimate.ts`,
    "return later(now.mono, remaining);",
    "return later(now.mono, durationMs(remaining * 1.5));",
  ),
  one(
    "expiry by the issuer's clock: skew is measured",
    `${core}/receipt.ts`,
    "const worst = durationMs(Math.ceil(most));",
    "const worst = durationMs(0);",
  ),
  rare(
    one(
      "tombstone: what is no longer configured is taken back",
      `${core}/step.ts`,
      "...gone.map((provider) => ({ provider, generation })),",
      "...gone.slice(0, 0).map((provider) => ({ provider, generation })),",
    ),
  ),
  one(
    "ended: standbys go when the job is over",
    `${core}/leadership.ts`,
    'record?.state === "ended" &&',
    'record?.holder === "" &&',
  ),
  rare(
    one(
      "configuration digest: another configuration obtains anew",
      `${core}/adoption.ts`,
      "record.configDigest !== run.settings.configDigest",
      "record.configDigest === run.settings.name",
    ),
  ),
  one(
    "term raise: a term is above every known one",
    `${core}/leadership.ts`,
    "Math.max(leadership.knownTerm + 1, wallSec * TERMS_PER_SEC + own)",
    "wallSec * TERMS_PER_SEC + own",
  ),
  one(
    "state fence: the first write under the own term",
    `${core}/writer.ts`,
    'writer.phase = "fencing";',
    'writer.phase = "open"; writer.committed = writer.truth; writer.committedSeq = writer.truthSeq;',
  ),
  one(
    "former write: what is found stored of a former term proves nothing",
    `${core}/leadership.ts`,
    "writer.writing = undefined;",
    "",
  ),
  one(
    "rewriting a lost store: the holder does it from memory",
    `${core}/leadership.ts`,
    "if (entry === undefined || reading.incarnation !== held.incarnation) {",
    "if (entry === undefined) { fence(turn, 'lost'); return; }\n  if (reading.incarnation !== held.incarnation) {",
  ),
  one(
    "registration for an unknown group key",
    `${agent}/holding.ts`,
    "if (!mends || opening.waited) return;",
    "if (mends || opening.waited) return;",
  ),
  one(
    "signature: only who holds the job's signing key makes bundles",
    "src/protocol/bundle.ts",
    "const jwe = text(await verifySigned(sealed, TYPE, keys));",
    'const jwe = Buffer.from(text(sealed).split(".")[1] ?? "", "base64url").toString("utf8");',
  ),
  one(
    "type: no other signed document passes for a bundle",
    "src/protocol/signed.ts",
    'if (protectedHeader.typ !== typ) throw new Error("another type");',
    "",
  ),
  one(
    "size: what is too large is not read",
    "src/protocol/bundle.ts",
    'throw new EvergrantError("MESSAGE_TOO_LARGE", `a bundle',
    'if (now < 0) throw new EvergrantError("MESSAGE_TOO_LARGE", `a bundle',
  ),
  one(
    "group key by its id",
    "src/protocol/bundle.ts",
    "groups.find((candidate) => candidate.kid === header.kid)",
    "groups[0]",
  ),
  one(
    "floor at the opener: what is older is not decrypted",
    "src/worker-agent/adapters/jose-opener/jose-opener.ts",
    "if (compareVersions(verified.header, floor) < 0) {",
    "if (term < 0) {",
  ),
  one(
    "encryption: the broker reads nothing that is secret",
    "src/protocol/bundle.ts",
    "    kid: group.kid,\n    tenant",
    "    kid: group.kid,\n    body,\n    tenant",
  ),
  one(
    "rekey: a new first key set brings a new group key",
    `${core}/rekeying.ts`,
    "groupSet}.`) === true;",
    "groupSet}.`) !== undefined;",
  ),
];
