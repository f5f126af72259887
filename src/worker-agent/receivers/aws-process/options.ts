/** The options of `aws-process`, as docs/receivers/aws-process.md lists them. */
import * as z from "zod";
import { fileModeSchema } from "../file-mode.ts";

/** What needs no quoting in an ini file, a shell and botocore's own splitting: blanks do, and are quoted. */
const PLAIN_PATH = /^\/[A-Za-z0-9 _.,:@%+=/-]*$/;

const absolutePath = z
  .string()
  .regex(PLAIN_PATH, "expected an absolute path of A-Z a-z 0-9 blank _ . , : @ % + = / -");

export const awsProcessOptions = z.strictObject({
  socket: absolutePath
    .optional()
    .describe("Path of the Unix socket. Absent: in the agent's state folder"),
  configFile: absolutePath
    .optional()
    .describe("Path of an AWS configuration file to write, with a profile that asks the socket"),
  profile: z
    .string()
    .regex(/^[A-Za-z0-9_-]{1,64}$/, "expected 1 to 64 of A-Z a-z 0-9 _ -")
    .default("evergrant")
    .describe("The profile's name in that file"),
  command: z
    .enum(["curl", "evergrant"])
    .default("curl")
    .describe("Which program the profile runs to ask; a Node start costs some 50 ms each time"),
  configFileMode: fileModeSchema.default(0o600).describe("Mode of that file; it holds no secret"),
  region: z
    .string()
    .regex(/^[a-z0-9-]{1,64}$/, "expected a region, such as eu-west-1")
    .optional()
    .describe("Region in that file and in the environment. Absent: the provider's"),
  holdMs: z
    .int()
    .min(0)
    .max(60_000)
    .default(700)
    .describe("How long a request waits for the first credential"),
});
export type AwsProcessOptions = z.infer<typeof awsProcessOptions>;
