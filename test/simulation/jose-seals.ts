/**
 * Bundles that are really sealed, signed, verified and opened, by the product's own sealer and
 * opener under the keys of a job key file. It owns that file and the join file. Every outcome is
 * held against the book.
 *
 * Ids of keys come from the seed. Key pairs and the nonces of the cipher do not, and nothing in the
 * world depends on them.
 */
import { isDeepStrictEqual } from "node:util";
import { joseSealer } from "../../src/coordinator/adapters/jose-sealer.ts";
import { sealedVersion } from "../../src/coordinator/adapters/nats-register/sealed-version.ts";
import type { Bundle } from "../../src/protocol/bundle.ts";
import { toBase64Url } from "../../src/protocol/encoding.ts";
import {
  boxed,
  createJobKeySet,
  currentSet,
  groupKeyIn,
  type JobKeyFile,
  type JobPublicKeys,
  newGroupKid,
  publicKeysOf,
} from "../../src/protocol/keys.ts";
import type { Done, Outcome } from "../../src/protocol/outcome.ts";
import { epochMs, type Random } from "../../src/protocol/time.ts";
import { joseOpener } from "../../src/worker-agent/adapters/jose-opener/jose-opener.ts";
import { Chance } from "./chance.ts";
import { type Genuine, SealBook } from "./seal-book.ts";
import type { AgentSeals, CoordinatorSeals, Seals } from "./seals.ts";
import { JOB } from "./sim-coordinator.ts";
import { EPOCH, type SimNode } from "./sim-node.ts";
import type { World } from "./world.ts";

export class JoseSeals implements Seals {
  readonly random: Random;
  readonly book = new SealBook();
  readonly #world: World;
  #file: JobKeyFile | undefined;
  #join: JobPublicKeys | undefined;

  constructor(world: World, seed: number) {
    this.#world = world;
    const chance = new Chance(~seed);
    this.random = {
      unit: () => chance.unit(),
      bytes: (length) => Uint8Array.from({ length }, () => chance.whole(0, 255)),
    };
    world.timeline.send(createJobKeySet(epochMs(EPOCH), this.random), (set) => {
      this.#file = { version: 1, ...JOB, sets: [set] };
      this.#join = publicKeysOf(this.#file);
    });
  }

  /** The job key file, as whoever starts now reads it. */
  get file(): JobKeyFile {
    return there(this.#file);
  }

  replaceSets(sets: JobKeyFile["sets"]): void {
    this.#file = { ...this.file, sets };
  }

  coordinator(node: SimNode, holder: string): CoordinatorSeals {
    const { file } = this;
    const set = currentSet(file);
    const jobKeys = publicKeysOf(file);
    // Whoever starts rewrites the join file.
    this.#join = jobKeys;
    const sealer = joseSealer(boxed(file));
    const signer = set.signing.kid;
    return {
      groupSet: set.stateKey.kid,
      newGroupKid: newGroupKid(set, this.random),
      signer,
      jobKeys,
      groupKeys: (kids) =>
        kids.flatMap((kid) => {
          const group = groupKeyIn(file, kid);
          return group === undefined ? [] : [{ kid, key: toBase64Url(group.key) }];
        }),
      opens: (registration) => file.sets.some((one) => one.registration.kid === registration),
      versionOf: sealedVersion,
      seal: (bundle, kid, done) =>
        this.#send<Uint8Array>(
          node,
          (back) => sealer.seal(bundle, kid, back),
          (outcome) => {
            if (outcome.ok) {
              this.book.enter({ bundle, kid, by: holder, signer, bytes: outcome.value });
              // I9: the broker reads all but what is encrypted.
              this.#world.scan("sealed bundle", readable(outcome.value));
            }
            done(outcome);
          },
        ),
    };
  }

  agent(node: SimNode): AgentSeals {
    let join = there(this.#join);
    let keys = join;
    const opener = joseOpener(JOB, () => keys.signing);
    const trusts = (signer: string): boolean => keys.signing.some(({ kid }) => kid === signer);
    return {
      readJoin: () => {
        const before = join;
        join = there(this.#join);
        if (!isDeepStrictEqual(join, before)) keys = join;
        return keys.registration.kid;
      },
      learn: (learned) => {
        // The same objects as before, where they say the same: keys are imported once for each.
        if (!isDeepStrictEqual(learned, keys)) keys = learned;
      },
      trusts,
      open: (sealed, using, done) => {
        const verdict = this.book.verdict(sealed, trusts, using);
        this.#send<Bundle>(
          node,
          (back) => opener.open(sealed, using, back),
          (outcome) => {
            const wrong = this.book.wrong(sealed, outcome, verdict);
            if (wrong !== undefined) this.#world.oracle.violated("SEAL", `${node.name} ${wrong}`);
            done(outcome);
          },
        );
      },
    };
  }

  lookUp(sealed: Uint8Array): Genuine {
    return this.book.lookUp(sealed);
  }

  any(unit: number): Uint8Array | undefined {
    return this.book.any(unit);
  }

  label(bytes: Uint8Array): string {
    return this.book.label(bytes);
  }

  /** One call that takes no time of the world; its outcome is the process's, if that still lives. */
  #send<T>(node: SimNode, call: (back: Done<T>) => void, done: Done<T>): void {
    const { epoch } = node;
    this.#world.timeline.send(new Promise<Outcome<T>>(call), (outcome) =>
      node.deliver(epoch, () => done(outcome)),
    );
  }
}

function there<T>(made: T | undefined): T {
  if (made === undefined) throw new RangeError("the first keys are still being made");
  return made;
}

/** All that whoever has the bytes, and no key, can read of them. */
function readable(sealed: Uint8Array): string[] {
  const parts = (compact: string): string[] =>
    compact.split(".").map((part) => Buffer.from(part, "base64url").toString("latin1"));
  const [header = "", jwe = "", signature = ""] = parts(Buffer.from(sealed).toString("latin1"));
  return [header, jwe, signature, ...parts(jwe)];
}
