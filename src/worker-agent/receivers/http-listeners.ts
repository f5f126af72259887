/**
 * The HTTP servers of this host's consumers: the limits on connections, headers and time that every
 * endpoint of an agent has, and how they end. Refuses to know what is answered.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { ListenOptions, Socket } from "node:net";
import { type Clock, durationMs } from "../../protocol/time.ts";

/** How long `close` lets answers that are under way finish. */
const CLOSE_GRACE = durationMs(200);

export interface HttpListenersSettings {
  /** Must not throw or reject. The host is not looked at: endpoints judge it, and answer in their own form. */
  readonly answer: (request: IncomingMessage, response: ServerResponse) => Promise<void>;
  /** Bytes that are no HTTP request, for which the parser gives no response object. */
  readonly malformed: (socket: Socket) => void;
  readonly clock: Clock;
}

export class HttpListeners {
  readonly #settings: HttpListenersSettings;
  readonly #servers: Server[] = [];

  constructor(settings: HttpListenersSettings) {
    this.#settings = settings;
  }

  /** Listens there, besides what it listens to already. Rejects with the system's error. */
  async listen(where: ListenOptions): Promise<Server> {
    const { answer, malformed } = this.#settings;
    const server = createServer(
      {
        // Clients that keep connections close them first; a reset on reuse would cost them a retry.
        keepAliveTimeout: 30_000,
        headersTimeout: 5_000,
        requestTimeout: 5_000,
        connectionsCheckingInterval: 5_000,
        maxHeaderSize: 16_384,
        requireHostHeader: false,
      },
      (request, response) => void answer(request, response),
    );
    server.maxConnections = 4096;
    server.on("clientError", (error: NodeJS.ErrnoException, socket) => {
      if (error.code === "ECONNRESET") socket.destroy();
      else malformed(socket as Socket);
    });
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen({ ...where, exclusive: true }, () => {
        server.removeListener("error", reject);
        server.on("error", () => undefined); // e.g. no file descriptor for a new connection: that client fails alone
        resolve();
      });
    });
    this.#servers.push(server);
    return server;
  }

  /** Closes all sockets, also those of requests that wait. */
  async close(): Promise<void> {
    await Promise.all(
      this.#servers.splice(0).map(
        (server) =>
          new Promise<void>((resolve) => {
            server.close(() => resolve());
            server.closeIdleConnections();
            this.#settings.clock.timer(CLOSE_GRACE, () => server.closeAllConnections(), true);
          }),
      ),
    );
  }
}

/** Answers 400 with these headers and this body, and ends the connection. */
export function endMalformed(
  socket: Socket,
  headers: Readonly<Record<string, string | number>>,
  body: string,
): void {
  if (!socket.writable) return;
  const head = Object.entries({ ...headers, Connection: "close" })
    .map(([name, value]) => `${name}: ${value}\r\n`)
    .join("");
  socket.end(`HTTP/1.1 400 Bad Request\r\n${head}\r\n${body}`);
}
