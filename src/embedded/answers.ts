/**
 * Whether a server really answers: one short conversation over TCP, by a few lines of each protocol.
 * Owns what counts as an answer; refuses to wait, to retry and to know who started the server.
 */
import { connect, createServer } from "node:net";
import { connect as connectTls } from "node:tls";

/** What nats-server says in its first line. */
export interface NatsInfo {
  readonly serverName: string;
  readonly version: string;
  readonly jetstream: boolean;
}

/** One conversation takes at most this long; a frozen server accepts and then says nothing. */
const PATIENCE_MS = 2000;

/** The INFO line of the server at a loopback port; undefined when no nats-server answers there. */
export async function natsInfo(port: number): Promise<NatsInfo | undefined> {
  const line = await converse(port, "", (text) => {
    const end = text.indexOf("\r\n");
    return end < 0 ? undefined : text.slice(0, end);
  });
  if (line === undefined || !line.startsWith("INFO ")) return undefined;
  try {
    const info = JSON.parse(line.slice("INFO ".length)) as Record<string, unknown>;
    return {
      serverName: String(info["server_name"] ?? ""),
      version: String(info["version"] ?? ""),
      jetstream: info["jetstream"] === true,
    };
  } catch {
    return undefined;
  }
}

export interface RedisQuestion {
  readonly port: number;
  readonly password?: string;
  /** Certificates to trust, PEM; speaks TLS when given. */
  readonly ca?: string;
}

/**
 * The process id of the redis-server that takes our password and is done loading its data;
 * undefined when none answers so. Passwords must hold no white space or quotes.
 */
export async function redisProcessId(question: RedisQuestion): Promise<number | undefined> {
  const auth = question.password === undefined ? "" : `AUTH ${question.password}\r\n`;
  const answer = await converse(
    question.port,
    `${auth}PING\r\nINFO server\r\n`,
    (text) => (/^-/m.test(text) || /^process_id:\d+\r?$/m.test(text) ? text : undefined),
    question.ca,
  );
  if (answer === undefined || !answer.includes("+PONG\r\n")) return undefined;
  const match = /^process_id:(\d+)\r?$/m.exec(answer);
  return match === null ? undefined : Number(match[1]);
}

/** A port that was free on 127.0.0.1 a moment ago. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once("error", reject);
    probe.listen({ host: "127.0.0.1", port: 0 }, () => {
      const address = probe.address();
      const port = typeof address === "object" && address !== null ? address.port : 0;
      probe.close(() => resolve(port));
    });
  });
}

/** Whether `port` can be listened on at 127.0.0.1 now. */
export function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once("error", () => resolve(false));
    probe.listen({ host: "127.0.0.1", port, exclusive: true }, () =>
      probe.close(() => resolve(true)),
    );
  });
}

/** Sends `say`, then reads until `enough` returns something. Undefined on any failure. */
function converse(
  port: number,
  say: string,
  enough: (text: string) => string | undefined,
  ca?: string,
): Promise<string | undefined> {
  return new Promise((resolve) => {
    const at = { host: "127.0.0.1", port };
    const socket = ca === undefined ? connect(at) : connectTls({ ...at, ca });
    let text = "";
    const end = (answer: string | undefined): void => {
      socket.destroy();
      resolve(answer);
    };
    socket.setTimeout(PATIENCE_MS, () => end(undefined));
    socket.setEncoding("utf8");
    socket.on("error", () => end(undefined));
    socket.on("close", () => end(undefined));
    socket.on("data", (chunk: string) => {
      text += chunk;
      const answer = enough(text);
      if (answer !== undefined) end(answer);
    });
    socket.on("connect", () => {
      if (say !== "") socket.write(say);
    });
  });
}
