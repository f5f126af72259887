/**
 * `/healthz`, `/readyz` and `/metrics` of one process, on loopback unless told otherwise. Owns the
 * HTTP of it; refuses to know what health means. Nothing that it is given may hold a secret.
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Registry } from "prom-client";
import { EvergrantError } from "../protocol/errors.ts";

/** `ok` decides between 200 and 503; all of it is the body. */
export interface StatusReport {
  readonly ok: boolean;
  /** Why not, in words. */
  readonly reasons: readonly string[];
  readonly [fact: string]: unknown;
}

export interface StatusServerOptions {
  /** Default 127.0.0.1. */
  readonly host?: string;
  /** 0: any free one. Default 0. */
  readonly port?: number;
  /** Whether the process works at all: a supervisor restarts it otherwise. */
  health(): StatusReport;
  /** Whether it serves what it is there for. */
  ready(): StatusReport;
  /** Absent: `/metrics` answers 404. */
  readonly metrics?: Registry;
}

export interface StatusServer {
  readonly host: string;
  readonly port: number;
  /** `http://host:port`. */
  readonly url: string;
  /** Ends it and its connections. */
  close(): Promise<void>;
}

/** @throws SERVER_START_FAILED, e.g. when the port is taken. */
export async function startStatusServer(options: StatusServerOptions): Promise<StatusServer> {
  const { host = "127.0.0.1", port = 0 } = options;
  const server = createServer((request, response) => {
    answer(options, request, response).catch(() => {
      if (!response.headersSent) response.writeHead(500);
      response.end();
    });
  });
  server.headersTimeout = 5000;
  server.requestTimeout = 5000;
  await new Promise<void>((resolve, reject) => {
    server.once("error", (cause: NodeJS.ErrnoException) => {
      const message = `the status server can't listen on ${host}:${port} (${cause.code ?? cause.name})`;
      reject(new EvergrantError("SERVER_START_FAILED", message, { cause }));
    });
    server.listen(port, host, resolve);
  });
  // A failing accept later on must not end the process.
  server.on("error", () => undefined);
  const address = server.address() as AddressInfo;
  const shown = address.family === "IPv6" ? `[${address.address}]` : address.address;
  return {
    host: address.address,
    port: address.port,
    url: `http://${shown}:${address.port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function answer(
  options: StatusServerOptions,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  response.setHeader("cache-control", "no-store");
  if (request.method !== "GET" && request.method !== "HEAD") {
    response.writeHead(405, { allow: "GET, HEAD" }).end();
    return;
  }
  const path = (request.url ?? "/").split("?", 1)[0];
  if (path === "/healthz") sendReport(response, options.health());
  else if (path === "/readyz") sendReport(response, options.ready());
  else if (path === "/metrics" && options.metrics !== undefined) {
    const text = await options.metrics.metrics();
    response.writeHead(200, { "content-type": options.metrics.contentType }).end(text);
  } else response.writeHead(404).end();
}

function sendReport(response: ServerResponse, report: StatusReport): void {
  response
    .writeHead(report.ok ? 200 : 503, { "content-type": "application/json" })
    .end(`${JSON.stringify(report)}\n`);
}
