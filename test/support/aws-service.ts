/**
 * An AWS service as far as credentials go: answers every request with an empty list and records
 * which access key and session token it was signed with.
 */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { onTestFinished } from "vitest";

export interface SeenRequest {
  readonly accessKey: string;
  readonly sessionToken: string | undefined;
  readonly region: string;
}

export interface AwsService {
  readonly url: string;
  readonly seen: SeenRequest[];
}

const ANSWER = `<?xml version="1.0" encoding="UTF-8"?>
<ListAllMyBucketsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Buckets/><Owner><ID>1</ID></Owner></ListAllMyBucketsResult>`;

/** Ends with the test. */
export async function startAwsService(): Promise<AwsService> {
  const seen: SeenRequest[] = [];
  const server = createServer((request, response) => {
    const [, accessKey = "none", region = "none"] =
      /Credential=([^/]*)\/[^/]*\/([^/]*)\//.exec(request.headers.authorization ?? "") ?? [];
    const token = request.headers["x-amz-security-token"];
    seen.push({ accessKey, region, sessionToken: typeof token === "string" ? token : undefined });
    request.resume();
    response.writeHead(200, { "Content-Type": "application/xml" }).end(ANSWER);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, seen };
}
