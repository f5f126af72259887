/** Cuts what a NATS client sends into whole protocol frames. Knows no sockets. */

export interface Frame {
  /** `PUB`, `HPUB`, `SUB`, … in capitals; `RAW` where the proxy does not look inside. */
  readonly verb: string;
  /** What is published to; empty for other verbs. */
  readonly subject: string;
  readonly bytes: Buffer;
}

export interface FrameSplitter {
  /** The frames that are complete with this chunk. */
  push(chunk: Buffer): Frame[];
}

const END = "\r\n";

export function natsFrames(): FrameSplitter {
  let rest: Buffer = Buffer.alloc(0);
  const next = (): Frame | undefined => {
    const end = rest.indexOf(END);
    if (end < 0) return undefined;
    const words = rest.subarray(0, end).toString("latin1").split(/\s+/);
    const verb = (words[0] ?? "").toUpperCase();
    const carries = verb === "PUB" || verb === "HPUB";
    const length = end + END.length + (carries ? Number(words.at(-1)) + END.length : 0);
    if (rest.length < length) return undefined;
    const bytes = rest.subarray(0, length);
    rest = rest.subarray(length);
    return { verb, subject: carries ? (words[1] ?? "") : "", bytes };
  };
  return {
    push(chunk) {
      rest = Buffer.concat([rest, chunk]);
      const frames: Frame[] = [];
      for (let frame = next(); frame !== undefined; frame = next()) frames.push(frame);
      return frames;
    },
  };
}

/** Every chunk is a frame: for protocols that nobody looks into. */
export const rawFrames = (): FrameSplitter => ({
  push: (bytes) => [{ verb: "RAW", subject: "", bytes }],
});
