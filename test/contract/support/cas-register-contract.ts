/** What every `CasRegister` must do, run on the real one, the simulated one and the one in memory. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type {
  CasRegister,
  Reading,
  Revision,
} from "../../../src/coordinator/ports/cas-register.ts";
import { utf8 } from "../../../src/protocol/encoding.ts";
import type { ErrorCode } from "../../../src/protocol/errors.ts";
import type { Done, Outcome } from "../../../src/protocol/outcome.ts";

export interface RegisterRig {
  /** A new register on this key, as another process would have it. */
  open(key: string): Promise<CasRegister<Uint8Array>>;
  /** Nothing answers, and what is said may be done later. */
  freeze(): void;
  thaw(): void;
  /** Everything is lost, and the store is empty again; settles once it can be reached. */
  wipe(): Promise<void>;
  close(): Promise<void>;
}

/** How long any call may take while the store is away, in milliseconds. */
const BOUND_MS = 10_000;

const promised = <T>(call: (done: Done<T>) => void): Promise<Outcome<T>> =>
  new Promise((resolve) => call(resolve));
const read = (register: CasRegister<Uint8Array>) =>
  promised<Reading<Uint8Array>>((done) => register.read(done));
const write = (register: CasRegister<Uint8Array>, expected: Revision | undefined, text: string) =>
  promised<Revision>((done) => register.write(expected, utf8(text), done));

async function value<T>(outcome: Promise<Outcome<T>>): Promise<T> {
  const settled = await outcome;
  if (!settled.ok) throw settled.error;
  return settled.value;
}
async function code(outcome: Promise<Outcome<unknown>>): Promise<ErrorCode | "ok"> {
  const settled = await outcome;
  return settled.ok ? "ok" : settled.error.code;
}
const textOf = (reading: Reading<Uint8Array>): string | undefined =>
  reading.entry === undefined ? undefined : Buffer.from(reading.entry.value).toString("utf8");

export function casRegisterContract(name: string, start: () => Promise<RegisterRig>): void {
  describe(`${name} keeps the register contract`, () => {
    let rig: RegisterRig;
    beforeAll(async () => {
      rig = await start();
    });
    afterAll(async () => {
      await rig.close();
    });

    it("an empty register reads as nothing, with an incarnation", async () => {
      const reading = await value(read(await rig.open("t.empty")));
      expect(reading.entry).toBeUndefined();
      expect(reading.incarnation).not.toBe("");
    });

    it("what was written is read with its revision, by others too", async () => {
      const register = await rig.open("t.written");
      const first = await value(write(register, undefined, "one"));
      const second = await value(write(register, first, "two"));
      expect(second).not.toBe(first);
      const reading = await value(read(await rig.open("t.written")));
      expect(textOf(reading)).toBe("two");
      expect(reading.entry?.revision).toBe(second);
    });

    it("a write with a stale, foreign or missing revision changes nothing", async () => {
      const register = await rig.open("t.stale");
      const first = await value(write(register, undefined, "one"));
      const second = await value(write(register, first, "two"));
      expect(await code(write(register, first, "stale"))).toBe("STORE_CONFLICT");
      expect(await code(write(register, second + 1000, "foreign"))).toBe("STORE_CONFLICT");
      expect(await code(write(register, undefined, "missing"))).toBe("STORE_CONFLICT");
      expect(textOf(await value(read(register)))).toBe("two");
    });

    it("a revision is expected of an empty register in vain", async () => {
      expect(await code(write(await rig.open("t.absent"), 3, "x"))).toBe("STORE_CONFLICT");
    });

    it("of twenty that write at once exactly one wins, in every round", async () => {
      const writers = await Promise.all(Array.from({ length: 20 }, () => rig.open("t.race")));
      let revision: Revision | undefined;
      for (let round = 0; round < 10; round += 1) {
        const expected = revision;
        const outcomes = await Promise.all(
          writers.map((writer, index) => write(writer, expected, `${round}/${index}`)),
        );
        const winners = outcomes.flatMap((outcome, index) =>
          outcome.ok ? [{ revision: outcome.value, text: `${round}/${index}` }] : [],
        );
        expect(winners).toHaveLength(1);
        expect(outcomes.filter((o) => !o.ok && o.error.code === "STORE_CONFLICT")).toHaveLength(19);
        const reading = await value(read(await rig.open("t.race")));
        expect(textOf(reading)).toBe(winners[0]?.text);
        expect(reading.entry?.revision).toBe(winners[0]?.revision);
        revision = winners[0]?.revision;
      }
    });

    it("a removed register reads as nothing and can be written anew, by one", async () => {
      const register = await rig.open("t.removed");
      const first = await value(write(register, undefined, "one"));
      await value(promised<void>((done) => register.remove(done)));
      expect((await value(read(register))).entry).toBeUndefined();
      expect(await code(write(register, first, "old"))).toBe("STORE_CONFLICT");
      const codes = await Promise.all(
        (await Promise.all([1, 2, 3].map(() => rig.open("t.removed")))).map((writer) =>
          code(write(writer, undefined, "anew")),
        ),
      );
      expect(codes.toSorted()).toEqual(["STORE_CONFLICT", "STORE_CONFLICT", "ok"]);
      expect(textOf(await value(read(register)))).toBe("anew");
    });

    it("removing what is not there succeeds", async () => {
      const register = await rig.open("t.never");
      expect(await code(promised<void>((done) => register.remove(done)))).toBe("ok");
    });

    it("keys do not touch each other, and the incarnation stays through writes", async () => {
      const [one, two] = [await rig.open("t.k1"), await rig.open("t.k2")];
      const before = (await value(read(one))).incarnation;
      await value(write(one, undefined, "1"));
      await value(write(two, undefined, "2"));
      expect(textOf(await value(read(one)))).toBe("1");
      expect((await value(read(one))).incarnation).toBe(before);
    });

    it("while the store is away every call fails in bounded time, and a read tells afterwards what became of a write", async () => {
      const register = await rig.open("t.frozen");
      const first = await value(write(register, undefined, "before"));
      rig.freeze();
      const began = performance.now();
      const [reading, writing, creating] = await Promise.all([
        code(read(register)),
        code(write(register, first, "ambiguous")),
        code(write(register, undefined, "never")),
      ]);
      expect(performance.now() - began).toBeLessThan(BOUND_MS);
      rig.thaw();
      expect([reading, writing, creating]).toEqual([
        "STORE_UNAVAILABLE",
        "STORE_UNAVAILABLE",
        "STORE_UNAVAILABLE",
      ]);
      const after = await eventually(async () => await read(register));
      // Either is right; a write that takes this reading's revision is what settles it.
      expect(["before", "ambiguous"]).toContain(textOf(after));
      await value(write(register, after.entry?.revision, "settled"));
      expect(textOf(await value(read(register)))).toBe("settled");
    });

    it("a store that was lost reads as nothing under another incarnation and refuses old revisions", async () => {
      const register = await rig.open("t.wiped");
      const first = await value(write(register, undefined, "one"));
      const old = await value(write(register, first, "two"));
      const { incarnation } = await value(read(register));
      await rig.wipe();
      const after = await eventually(async () => await read(register));
      expect(after.entry).toBeUndefined();
      expect(after.incarnation).not.toBe(incarnation);
      expect(await code(write(register, old, "three"))).toBe("STORE_CONFLICT");
      await value(write(register, undefined, "anew"));
      expect(textOf(await value(read(register)))).toBe("anew");
    });

    it("a write is the first to find that the store was lost", async () => {
      const register = await rig.open("t.wiped2");
      const first = await value(write(register, undefined, "one"));
      await rig.wipe();
      await eventuallyCode(() => code(write(register, first + 500, "two")), "STORE_CONFLICT");
      await value(write(register, undefined, "anew"));
    });
  });
}

/** Reads until the store answers again. Each try takes its own time, so nothing sleeps here. */
async function eventually<T>(attempt: () => Promise<Outcome<T>>): Promise<T> {
  for (;;) {
    const outcome = await attempt();
    if (outcome.ok) return outcome.value;
    if (outcome.error.code !== "STORE_UNAVAILABLE") throw outcome.error;
  }
}

async function eventuallyCode(attempt: () => Promise<string>, wanted: string): Promise<void> {
  for (;;) {
    const got = await attempt();
    if (got === wanted) return;
    expect(got).toBe("STORE_UNAVAILABLE");
  }
}
