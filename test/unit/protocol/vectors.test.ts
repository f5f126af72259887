/** The committed vectors open with this code, and what is deterministic comes out the same. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import * as z from "zod";
import { openBundle, verifyBundle } from "../../../src/protocol/bundle.ts";
import { commandEnvelopeSchema, openAnswer, openCommand } from "../../../src/protocol/control.ts";
import { credentialToWire } from "../../../src/protocol/credential.ts";
import { fromBase64Url, toBase64Url, utf8 } from "../../../src/protocol/encoding.ts";
import { readJoinToken, readTicket } from "../../../src/protocol/join.ts";
import {
  agentMacKey,
  currentSet,
  groupKeyIn,
  jobKeyFileSchema,
  publicKeysOf,
  publicPart,
  signingKeySchema,
} from "../../../src/protocol/keys.ts";
import { openNotice } from "../../../src/protocol/notice.ts";
import {
  openRegister,
  openRegisterReply,
  registerBodySchema,
} from "../../../src/protocol/register.ts";
import { decodeReport, encodeReport, reportSchema } from "../../../src/protocol/report.ts";
import { type SignedType, signDocument } from "../../../src/protocol/signed.ts";
import { inboxPrefix, subject } from "../../../src/protocol/subjects.ts";
import { epochMs } from "../../../src/protocol/time.ts";

const load = <T>(name: string, schema: z.ZodType<T>): T =>
  schema.parse(
    JSON.parse(readFileSync(new URL(`../../vectors/${name}.json`, import.meta.url), "utf8")),
  );

const keys = load(
  "keys",
  z.object({
    jobKeyFile: jobKeyFileSchema,
    jobKeys: z.unknown(),
    agent: z.object({ agent: z.string(), instance: z.string(), key: signingKeySchema }),
    operatorKey: signingKeySchema,
    derivations: z.array(z.object({ key: z.string() })),
    subjects: z.record(z.string(), z.string()),
  }),
);
const { jobKeyFile: file, agent } = keys;
const set = currentSet(file);
const id = { tenant: file.tenant, job: file.job };
const { signing } = publicKeysOf(file);

describe("keys", () => {
  it("public parts and derived keys are these", () => {
    expect(publicKeysOf(file)).toEqual(keys.jobKeys);
    const derived = [
      groupKeyIn(file, "state-1.group-1")?.key ?? new Uint8Array(),
      agentMacKey(set.macRoot, id, agent),
    ];
    expect(derived.map(toBase64Url)).toEqual(keys.derivations.map(({ key }) => key));
  });

  it("subjects are these", () => {
    expect(keys.subjects).toEqual({
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
    });
  });
});

it("the bundle opens to its header and its credentials", async () => {
  const vector = load(
    "bundle",
    z.object({
      sealed: z.string(),
      header: z.record(z.string(), z.unknown()),
      groupKey: z.string(),
      body: z.object({ credentials: z.array(z.unknown()), tombstones: z.array(z.unknown()) }),
    }),
  );
  const before = epochMs(Number(vector.header["expiresAtMs"]) - 1);
  const verified = await verifyBundle(utf8(vector.sealed), id, signing, before);
  expect(verified.header).toEqual(vector.header);
  const group = { kid: "state-1.group-1", key: fromBase64Url(vector.groupKey) };
  const opened = await openBundle(verified, [group]);
  expect(opened.credentials.map(credentialToWire)).toEqual(vector.body.credentials);
  expect(opened.tombstones).toEqual(vector.body.tombstones);
});

it("the registration's request and both replies open to their bodies", async () => {
  const vector = load(
    "registration",
    z.object({
      request: z.string(),
      requestBody: registerBodySchema,
      accepted: z.string(),
      acceptedBody: z.unknown(),
      refused: z.string(),
      refusedBody: z.object({ refused: z.string(), timeMs: z.int() }),
    }),
  );
  const { requestBody } = vector;
  expect(await openRegister(utf8(vector.request), file)).toEqual({ body: requestBody, set });
  const accepted = await openRegisterReply(utf8(vector.accepted), requestBody, signing);
  if (!accepted.accepted) throw new Error("refused");
  expect(accepted.body).toEqual(vector.acceptedBody);
  expect(accepted.bundle).toBeDefined();
  const refused = await openRegisterReply(utf8(vector.refused), requestBody, signing);
  const { refused: code, timeMs } = vector.refusedBody;
  expect(refused).toEqual({ accepted: false, code, timeMs });
});

it("the reports are exactly these bytes, and are believed", () => {
  const vector = load(
    "reports",
    z.object({
      macKey: z.string(),
      reports: z.array(z.object({ subject: z.string(), report: reportSchema, frame: z.string() })),
    }),
  );
  const key = fromBase64Url(vector.macKey);
  expect(vector.reports.map(({ report }) => report.type)).toEqual(["ack", "beat", "demand"]);
  for (const one of vector.reports) {
    expect(decodeReport(utf8(one.frame), one.subject, () => [key])).toEqual(one.report);
    // The frame's own JSON, since a parser may order members otherwise than their writer did.
    const report = JSON.parse(one.frame.slice(44));
    expect(encodeReport(report, one.subject, key)).toEqual(utf8(one.frame));
  }
});

it("the signed documents are exactly these, and each opens under its own type only", async () => {
  const { documents } = load(
    "signed",
    z.object({
      documents: z.array(
        z.object({ typ: z.string(), kid: z.string(), body: z.looseObject({}), jws: z.string() }),
      ),
    }),
  );
  const of = (typ: SignedType) => {
    const found = documents.find((document) => document.typ === typ);
    if (found === undefined) throw new Error(`no vector of ${typ}`);
    return found;
  };
  const operator = [publicPart(keys.operatorKey)];
  const openers: Partial<Record<SignedType, (jws: string) => Promise<unknown>>> = {
    "evergrant-join": (jws) => readJoinToken(jws, id, signing, epochMs(0)),
    "evergrant-ticket": (jws) => readTicket(jws, id, signing),
    "evergrant-notice": (jws) => openNotice(utf8(jws), id, signing),
    "evergrant-command": (jws) => openCommand(utf8(jws), operator),
    "evergrant-answer": (jws) => openAnswer(utf8(jws), signing),
  };
  const types = Object.keys(openers) as SignedType[];
  expect(documents).toHaveLength(types.length);
  for (const typ of types) {
    const { body, jws, kid } = of(typ);
    expect(await openers[typ]?.(jws)).toEqual(body);
    const key = kid === keys.operatorKey.kid ? keys.operatorKey : set.signing;
    expect(await signDocument(typ, body, key)).toBe(jws);
    for (const other of types) {
      if (other !== typ) await expect(openers[other]?.(jws)).rejects.toThrow();
    }
  }
  expect(commandEnvelopeSchema.parse(of("evergrant-command").body).operator).toBe("alice");
});
