/** The options of `aws-container`, as docs/receivers/aws-container.md lists them. */
import * as z from "zod";
import { fileModeSchema, ownerSchema } from "../file-mode.ts";

export const awsContainerOptions = z.strictObject({
  port: z
    .int()
    .min(1)
    .max(65_535)
    .optional()
    .describe("Port on 127.0.0.1. Absent: a free one, the same again after a restart of the agent"),
  ipv6: z.boolean().default(false).describe("Answers on [::1] as well"),
  holdMs: z
    .int()
    .min(0)
    .max(900)
    .default(700)
    .describe("How long a request waits for the first credential; clients give up after 1000 ms"),
  tokenIn: z
    .enum(["file", "environment"])
    .default("file")
    .describe("Where consumers find the authorization token"),
  tokenFile: z
    .string()
    .min(1)
    .refine((path) => path.startsWith("/"), "expected an absolute path")
    .optional()
    .describe("Path of the token file. Absent: in the agent's state folder"),
  tokenFileMode: fileModeSchema.default(0o400).describe("Mode of the token file"),
  tokenFileOwner: ownerSchema.optional().describe("Owner of the token file"),
  tokenFileGroup: ownerSchema.optional().describe("Group of the token file"),
  region: z
    .string()
    .regex(/^[a-z0-9-]{1,64}$/, "expected a region, such as eu-west-1")
    .optional()
    .describe("AWS_REGION for consumers. Absent: the provider's"),
  profiles: z
    .enum(["hide", "keep"])
    .default("hide")
    .describe("Whether consumers see the profiles of ~/.aws, which win over the endpoint"),
});
export type AwsContainerOptions = z.infer<typeof awsContainerOptions>;
