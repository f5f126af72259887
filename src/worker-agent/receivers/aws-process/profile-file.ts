/**
 * The AWS configuration file whose profile asks our socket. Pure. Owns the quoting: botocore splits
 * the command like a shell but runs none, the other SDKs hand it to one (delivery.md, section 2.5).
 */
import { AWS_PROCESS_PATH } from "./path.ts";

export interface ProfileFile {
  readonly profile: string;
  readonly socket: string;
  readonly command: "curl" | "evergrant";
  readonly region: string | undefined;
}

/** `-f` turns every answer that is no credential into an exit code, as the convention wants. */
export function credentialProcessCommand(socket: string, command: "curl" | "evergrant"): string {
  const path = socket.includes(" ") ? `"${socket}"` : socket;
  return command === "curl"
    ? `curl -sSf --max-time 5 --unix-socket ${path} http://localhost${AWS_PROCESS_PATH}`
    : `evergrant credential-process --socket ${path}`;
}

export function profileFile(file: ProfileFile): string {
  return [
    "# Written by evergrant, and written over by it.",
    `[profile ${file.profile}]`,
    `credential_process = ${credentialProcessCommand(file.socket, file.command)}`,
    ...(file.region === undefined ? [] : [`region = ${file.region}`]),
    "",
  ].join("\n");
}
