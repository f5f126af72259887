/**
 * Who may ask: the endpoint has no secret, so these rules are all that keeps web pages and misled
 * proxies away from it (delivery.md, 4.2 and 7.1). Whoever shares the network namespace may ask.
 */
import type { IncomingMessage } from "node:http";

export interface MetadataRefusal {
  readonly outcome: "wrong-host" | "forwarded" | "no-flavor" | "wrong-method";
  readonly status: 403 | 405;
  readonly message: string;
}

export function judgeCaller(request: IncomingMessage): MetadataRefusal | undefined {
  // Against DNS rebinding: a page in a browser reaches loopback, but under its own name.
  const [, name, port = "80"] =
    /^(127\.0\.0\.1|localhost|\[::1\])(?::([0-9]+))?$/i.exec(request.headers.host ?? "") ?? [];
  if (name === undefined || Number(port) !== request.socket.localPort) {
    const message = "The Host header must be 127.0.0.1 or localhost with the endpoint's port.";
    return { outcome: "wrong-host", status: 403, message };
  }
  if (request.headers["x-forwarded-for"] !== undefined) {
    const message = "Requests that were forwarded (X-Forwarded-For) are refused.";
    return { outcome: "forwarded", status: 403, message };
  }
  if (request.headers["metadata-flavor"] !== "Google") {
    const message = "The header Metadata-Flavor: Google is missing.";
    return { outcome: "no-flavor", status: 403, message };
  }
  if (request.method !== "GET") {
    return { outcome: "wrong-method", status: 405, message: "Only GET is answered." };
  }
  return undefined;
}
