/**
 * Writes the protocol's test vectors (docs/protocol.md, "Test vectors") to test/vectors/. Signatures,
 * MACs and derived keys come out the same at each run; what is encrypted has random parts, so a new
 * run makes other bytes that open to the same. Run: node tools/make-vectors.ts
 */
import { createHash, createPrivateKey, createPublicKey } from "node:crypto";
import { writeFileSync } from "node:fs";
import { sealBundle } from "../src/protocol/bundle.ts";
import { sealAnswer, sealCommand } from "../src/protocol/control.ts";
import { credentialFromWire } from "../src/protocol/credential.ts";
import { text, toBase64Url } from "../src/protocol/encoding.ts";
import { signJoinToken, signTicket } from "../src/protocol/join.ts";
import {
  agentMacKey,
  groupKeyOf,
  type JobKeyFile,
  jobKeyFileSchema,
  publicKeysOf,
  publicPart,
  type SigningKey,
  signingKeySchema,
} from "../src/protocol/keys.ts";
import { sealNotice } from "../src/protocol/notice.ts";
import { sealRefused, sealRegister, sealRegistered } from "../src/protocol/register.ts";
import { encodeReport, type Report } from "../src/protocol/report.ts";
import { inboxPrefix, subject } from "../src/protocol/subjects.ts";
import { epochMs } from "../src/protocol/time.ts";

const id = { tenant: "acme", job: "etl" };
const agent = { agent: "worker-1", instance: "Zm9vYmFyYmF6" };
const T0 = 1_790_000_000_000;

const seed = (label: string): Buffer =>
  createHash("sha256").update(`evergrant test vector: ${label}`).digest();
const bytes32 = (label: string): string => toBase64Url(seed(label));

/** The private JWK whose 32 secret bytes are the label's. The prefixes are PKCS #8 of RFC 8410. */
function okp(crv: "Ed25519" | "X25519", label: string): object {
  const prefix =
    crv === "Ed25519" ? "302e020100300506032b657004220420" : "302e020100300506032b656e04220420";
  const der = Buffer.concat([Buffer.from(prefix, "hex"), seed(label)]);
  const key = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
  const { x } = createPublicKey(key).export({ format: "jwk" });
  return { kty: "OKP", crv, x, d: bytes32(label) };
}
const signingKey = (kid: string, label: string): SigningKey =>
  signingKeySchema.parse({ kid, jwk: okp("Ed25519", label) });

const file: JobKeyFile = jobKeyFileSchema.parse({
  version: 1,
  ...id,
  sets: [
    {
      createdAtMs: T0,
      signing: { kid: "sig-1", jwk: okp("Ed25519", "job signing") },
      registration: { kid: "reg-1", jwk: okp("X25519", "job registration") },
      stateKey: { kid: "state-1", key: bytes32("job state") },
      macRoot: bytes32("job mac root"),
    },
  ],
});
const [set] = file.sets;
if (set === undefined) throw new Error("unreachable");
const publicKeys = publicKeysOf(file);
const agentKey = signingKey("agent-1", "agent signing");
const operatorKey = signingKey("op-1", "operator signing");
const GROUP = "state-1.group-1";
const group = groupKeyOf(set, id, GROUP);
const macKey = agentMacKey(set.macRoot, id, agent);

const write = (name: string, about: string, content: object): void => {
  const target = new URL(`../test/vectors/${name}.json`, import.meta.url);
  writeFileSync(target, `${JSON.stringify({ about, ...content }, null, 2)}\n`);
};

const infoHex = (...label: readonly string[]): string =>
  Buffer.from(["evergrant", "v1", id.tenant, id.job, ...label].join("\0")).toString("hex");

write("keys", "The keys of all other vectors. They are public: never use them.", {
  jobKeyFile: file,
  jobKeys: publicKeys,
  agent: { ...agent, key: agentKey },
  operatorKey,
  derivations: [
    {
      what: `group key of kid ${GROUP}`,
      root: set.stateKey.key,
      infoHex: infoHex("group", GROUP),
      key: toBase64Url(group.key),
    },
    {
      what: "MAC key of worker-1, instance Zm9vYmFyYmF6",
      root: set.macRoot,
      infoHex: infoHex("mac", agent.agent, agent.instance),
      key: toBase64Url(macKey),
    },
  ],
  subjects: {
    bundle: subject.bundle(id),
    register: subject.agent(id, "register", agent.agent),
    ack: subject.agent(id, "ack", agent.agent),
    beat: subject.agent(id, "beat", agent.agent),
    demand: subject.agent(id, "demand", agent.agent),
    push: subject.push(id, agent.agent),
    notice: subject.notice(id),
    control: subject.control(id),
    audit: subject.audit(id),
    inboxPrefix: inboxPrefix(id, "agent", agent.agent),
  },
});

const credentials = [
  {
    provider: "lake",
    kind: "aws-session",
    generation: 3,
    issuedAtMs: T0,
    expiresAtMs: T0 + 3_600_000,
    issuerSkewMs: -120,
    attributes: { region: "eu-west-1" },
    material: {
      accessKeyId: "ASIAVECTORVECTOR0001",
      secretAccessKey: "vector/secret+0001",
      sessionToken: "vector-session-token",
    },
  },
  {
    provider: "docs",
    kind: "google-token",
    generation: 2,
    issuedAtMs: T0 - 600_000,
    expiresAtMs: T0 + 3_000_000,
    issuerSkewMs: 0,
    attributes: {},
    material: { accessToken: "ya29.vector-ü" },
  },
];
const tombstones = [{ provider: "old", generation: 1 }];
const sealed = await sealBundle(
  {
    ...id,
    term: 1_790_000_001,
    generation: 3,
    sealedAt: epochMs(T0 + 5),
    expiresAt: epochMs(T0 + 3_600_000),
    credentials: credentials.map(credentialFromWire),
    tombstones,
  },
  group,
  set.signing,
);
write("bundle", "Must open to `header` and `body` at any time before the expiry.", {
  sealed: text(sealed),
  header: {
    tenant: id.tenant,
    job: id.job,
    term: 1_790_000_001,
    generation: 3,
    sealedAtMs: T0 + 5,
    expiresAtMs: T0 + 3_600_000,
    kid: GROUP,
    v: 1,
    typ: "evergrant-bundle",
  },
  groupKey: toBase64Url(group.key),
  body: { credentials, tombstones },
});

const joinToken = { id: "token-0001", ...id, notAfterMs: T0 + 86_400_000, maxAgents: 100 };
const ticket = {
  ...id,
  agent: agent.agent,
  key: publicPart(agentKey),
  tokenId: joinToken.id,
  issuedAtMs: T0 + 7,
};
const joinTokenJws = await signJoinToken(joinToken, set.signing);
const ticketJws = await signTicket(ticket, set.signing);

const request = {
  v: 1 as const,
  ...id,
  ...agent,
  nonce: bytes32("register nonce"),
  key: publicPart(agentKey),
  replyKey: bytes32("register reply key"),
  token: joinTokenJws,
  receivers: [{ kind: "file", provider: "lake" }],
  highest: { term: 0, generation: 0 },
};
const registered = {
  v: 1 as const,
  nonce: request.nonce,
  term: 1_790_000_001,
  generation: 3,
  timeMs: T0 + 7,
  groupKeys: [{ kid: group.kid, key: toBase64Url(group.key) }],
  macKey: toBase64Url(macKey),
  ticket: ticketJws,
  jobKeys: publicKeys,
  beatMs: 15_000,
};
write("registration", "Each must open to the body that stands beside it.", {
  request: text(await sealRegister(request, agentKey, publicKeys.registration)),
  requestBody: request,
  accepted: text(await sealRegistered(registered, request.replyKey, sealed, set.signing)),
  acceptedBody: registered,
  refused: text(await sealRefused(request, "JOIN_TOKEN_EXHAUSTED", T0 + 8, set.signing)),
  refusedBody: { v: 1, nonce: request.nonce, refused: "JOIN_TOKEN_EXHAUSTED", timeMs: T0 + 8 },
});

const head = { v: 1 as const, ...agent, term: 1_790_000_001, generation: 3 };
const reports: Report[] = [
  {
    ...head,
    sequence: 1,
    type: "ack",
    results: [
      { provider: "lake", kind: "aws-container", generation: 3, outcome: "applied", tookMs: 12 },
      {
        provider: "docs",
        kind: "file",
        generation: 2,
        outcome: "failed",
        code: "RECEIVER_FAILED",
        tookMs: 3.5,
      },
    ],
  },
  {
    ...head,
    sequence: 2,
    type: "beat",
    kid: GROUP,
    runwayMs: { lake: 3_599_000, docs: 0 },
    failing: { "file/docs": "RECEIVER_FAILED" },
    refused: { MESSAGE_FORGED: 1 },
  },
  { ...head, sequence: 3, type: "demand", provider: "lake", rejected: 3 },
];
write("reports", "Each frame is exact: HMAC-SHA256 over subject, newline and JSON.", {
  macKey: toBase64Url(macKey),
  reports: reports.map((report) => {
    const to = subject.agent(id, report.type as "ack" | "beat" | "demand", agent.agent);
    return { subject: to, report, frame: text(encodeReport(report, to, macKey)) };
  }),
});

const notice = {
  v: 1 as const,
  ...id,
  term: 1_790_000_001,
  sequence: 1,
  timeMs: T0 + 9,
  what: { kind: "rekey" as const, kid: "group-2" },
};
const command = {
  v: 1 as const,
  ...id,
  operator: "alice",
  nonce: "vector-nonce-000001",
  issuedAtMs: T0 + 10,
  notAfterMs: T0 + 60_010,
  command: { kind: "rotate" as const, providers: ["lake"], text: "vector" },
};
const answer = {
  v: 1 as const,
  nonce: command.nonce,
  term: 1_790_000_001,
  sequence: 1,
  timeMs: T0 + 11,
  answer: { kind: "refused" as const, code: "NOT_AUTHORISED", message: "vector" },
};
write("signed", "Compact JWS, exact (EdDSA is deterministic): the payload is `body` as JSON.", {
  documents: [
    { typ: "evergrant-join", kid: "sig-1", body: joinToken, jws: joinTokenJws },
    { typ: "evergrant-ticket", kid: "sig-1", body: ticket, jws: ticketJws },
    {
      typ: "evergrant-notice",
      kid: "sig-1",
      body: notice,
      jws: text(await sealNotice(notice, set.signing)),
    },
    {
      typ: "evergrant-command",
      kid: "op-1",
      body: command,
      jws: text(await sealCommand(command, operatorKey)),
    },
    {
      typ: "evergrant-answer",
      kid: "sig-1",
      body: answer,
      jws: text(await sealAnswer(answer, set.signing)),
    },
  ],
});
