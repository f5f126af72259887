/** The options of `google-metadata`, as docs/receivers/google-metadata.md lists them. */
import * as z from "zod";
import { fileModeSchema, ownerSchema } from "../file-mode.ts";

const absolutePath = z
  .string()
  .refine(
    (path) => path.startsWith("/") && !path.endsWith("/") && !path.includes("\0"),
    "expected an absolute path of a file",
  );

export const googleMetadataOptions = z.strictObject({
  port: z
    .int()
    .min(1)
    .max(65_535)
    .optional()
    .describe("Port on 127.0.0.1. Absent: a free one, the same again after a restart of the agent"),
  holdMs: z
    .int()
    .min(0)
    .max(2_500)
    .default(700)
    .describe("How long a request waits for the first token; clients give up after 3000 ms"),
  projectId: z
    .string()
    .regex(/^[a-z0-9:.-]{4,100}$/, "expected a project id")
    .optional()
    .describe("Project for consumers. Absent: the provider's"),
  numericProjectId: z
    .string()
    .regex(/^[0-9]{1,20}$/, "expected the project's number, in quotes")
    .optional()
    .describe("Number of the project, for the few clients that ask. Absent: 404"),
  gcloudConfig: z
    .enum(["hide", "keep"])
    .default("hide")
    .describe("Whether consumers see ~/.config/gcloud, whose credentials win over the endpoint"),
  tokenFile: absolutePath
    .optional()
    .describe("Also writes the token alone to this file, for gcloud and other tools"),
  tokenFileMode: fileModeSchema.default(0o600).describe("Mode of the token file"),
  tokenFileOwner: ownerSchema.optional().describe("Owner of the token file"),
  tokenFileGroup: ownerSchema.optional().describe("Group of the token file"),
});
export type GoogleMetadataOptions = z.infer<typeof googleMetadataOptions>;
