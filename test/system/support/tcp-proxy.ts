/**
 * A TCP proxy on loopback between one client and one server: cuts, delays, stalls and half-opens what
 * runs over it, and holds back single frames, so that a test can act at an exact moment. It keeps
 * books of what it has done: a fault that met nothing is no fault.
 */
import { connect, createServer, type Server, type Socket } from "node:net";
import { durationMs } from "../../../src/protocol/time.ts";
import { systemClock } from "../../../src/runtime/system-clock.ts";
import { type Frame, natsFrames, rawFrames } from "./nats-frames.ts";

/** One frame that has reached the proxy and not the server. Its connection waits behind it. */
export interface HeldFrame {
  readonly frame: Frame;
  /** Lets it and what follows pass. */
  release(): void;
  /**
   * Lets it pass, and nothing of what the server says on this connection from then on. Resolves once
   * the server has said something that contains `answer`: the frame has arrived and was treated.
   */
  releaseMuted(answer: string): Promise<void>;
}

export interface ProxyBooks {
  readonly accepted: number;
  readonly refused: number;
  /** Connections that were torn down by `cut`. */
  readonly cut: number;
  /** Bytes that were held back or dropped by a stall or a half-open connection. */
  readonly heldBytes: number;
  readonly delayedChunks: number;
}

export interface TcpProxy {
  readonly port: number;
  readonly books: ProxyBooks;
  /** Frames from the client since the start: `verb subject`. Without those of `RAW`. */
  readonly said: readonly {
    readonly verb: string;
    readonly subject: string;
    readonly at: number;
    /** When it was let through to the server; undefined while it is held back. */
    readonly passedAt: number | undefined;
  }[];
  /** Holds the next frame that matches, and says when it is there. One at a time. */
  holdNext(match: (frame: Frame) => boolean): Promise<HeldFrame>;
  /** Ends all connections with a reset and refuses new ones until `mend`. */
  cut(): void;
  /** Nothing passes in either direction; at `mend` all of it does, as after a partition. */
  stall(): void;
  /**
   * Connections stay open and whatever is sent over them is lost for good, as when the other side has
   * vanished. Those that were there stay so after `mend`; new ones are accepted, and silent until then.
   */
  halfOpen(): void;
  /** Every chunk takes so much longer, in order. 0: no more. */
  delay(ms: number): void;
  /** Everything passes again. */
  mend(): void;
  close(): Promise<void>;
}

interface Link {
  readonly client: Socket;
  readonly server: Socket;
  dead: boolean;
  muted: ((chunk: Buffer) => void) | undefined;
  readonly toServer: Lane;
  readonly toClient: Lane;
}

/** One direction: writes in order, waits while it is closed. */
interface Lane {
  queue: {
    readonly bytes: Buffer;
    readonly at: number;
    readonly passed: ((at: number) => void) | undefined;
  }[];
  held: boolean;
  pump(): void;
}

export async function startProxy(
  target: number,
  protocol: "nats" | "raw" = "raw",
): Promise<TcpProxy> {
  const links = new Set<Link>();
  const books = { accepted: 0, refused: 0, cut: 0, heldBytes: 0, delayedChunks: 0 };
  const said: { verb: string; subject: string; at: number; passedAt: number | undefined }[] = [];
  let waiting: { match: (frame: Frame) => boolean; met: (held: HeldFrame) => void } | undefined;
  let state: "open" | "cut" | "stalled" | "half-open" = "open";
  let delayMs = 0;
  const now = (): number => systemClock.now().mono;

  const lane = (to: Socket): Lane => {
    let cancel: (() => void) | undefined;
    const self: Lane = {
      queue: [],
      held: false,
      pump() {
        cancel?.();
        cancel = undefined;
        while (!self.held && state !== "stalled") {
          const [first] = self.queue;
          if (first === undefined) return;
          const left = first.at - now();
          if (left > 0) {
            cancel = systemClock.timer(durationMs(left), self.pump, true);
            return;
          }
          self.queue.shift();
          if (to.destroyed) continue;
          first.passed?.(now());
          to.write(first.bytes);
        }
      },
    };
    return self;
  };
  const enqueue = (to: Lane, bytes: Buffer, passed?: (at: number) => void): void => {
    if (delayMs > 0) books.delayedChunks += 1;
    if (state === "stalled") books.heldBytes += bytes.length;
    to.queue.push({ bytes, at: now() + delayMs, passed });
    to.pump();
  };
  const end = (link: Link): void => {
    links.delete(link);
    link.client.destroy();
    link.server.destroy();
  };

  const server: Server = createServer((client) => {
    if (state === "cut") {
      books.refused += 1;
      client.resetAndDestroy();
      return;
    }
    books.accepted += 1;
    const upstream = connect(target, "127.0.0.1");
    const link: Link = {
      client,
      server: upstream,
      dead: state === "half-open",
      muted: undefined,
      toServer: lane(upstream),
      toClient: lane(client),
    };
    links.add(link);
    const frames = protocol === "nats" ? natsFrames() : rawFrames();
    client.setNoDelay(true);
    upstream.setNoDelay(true);
    client.on("data", (chunk: Buffer) => {
      if (link.dead) {
        books.heldBytes += chunk.length;
        return;
      }
      for (const frame of frames.push(chunk)) {
        const { verb, subject } = frame;
        const heard = { verb, subject, at: now(), passedAt: undefined as number | undefined };
        if (verb !== "RAW") said.push(heard);
        if (waiting?.match(frame) === true) {
          const { met } = waiting;
          waiting = undefined;
          link.toServer.pump();
          link.toServer.held = true;
          met(heldFrame(link, frame));
        }
        enqueue(link.toServer, frame.bytes, (at) => {
          heard.passedAt = at;
        });
      }
    });
    upstream.on("data", (chunk: Buffer) => {
      if (link.dead) books.heldBytes += chunk.length;
      else if (link.muted !== undefined) link.muted(chunk);
      else enqueue(link.toClient, chunk);
    });
    for (const socket of [client, upstream]) {
      socket.on("error", () => undefined);
      socket.on("close", () => {
        // The far side of a vanished peer never hears of the end.
        if (!link.dead) end(link);
      });
    }
  });

  const heldFrame = (link: Link, frame: Frame): HeldFrame => {
    const release = (): void => {
      link.toServer.held = false;
      link.toServer.pump();
    };
    return {
      frame,
      release,
      releaseMuted(answer) {
        return new Promise((resolve) => {
          let heard = "";
          link.muted = (chunk) => {
            heard += chunk.toString("latin1");
            if (heard.includes(answer)) resolve();
          };
          release();
        });
      },
    };
  };

  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("the proxy has no port");
  return {
    port: address.port,
    books,
    said,
    holdNext: (match) =>
      new Promise((met) => {
        waiting = { match, met };
      }),
    cut() {
      state = "cut";
      for (const link of [...links]) {
        books.cut += 1;
        link.client.resetAndDestroy();
        end(link);
      }
    },
    stall() {
      state = "stalled";
    },
    halfOpen() {
      state = "half-open";
      for (const link of links) link.dead = true;
    },
    delay(ms) {
      delayMs = ms;
    },
    mend() {
      state = "open";
      delayMs = 0;
      for (const link of links) {
        link.toServer.pump();
        link.toClient.pump();
      }
    },
    async close() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const link of [...links]) end(link);
      await closed;
    },
  };
}
