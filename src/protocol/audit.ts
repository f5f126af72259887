/** Audit events: who obtained, delivered, applied or refused what, and when. Never a secret. */
import * as z from "zod";
import { nameSchema } from "./names.ts";

export const auditEventSchema = z.object({
  v: z.literal(1),
  tenant: nameSchema,
  job: nameSchema,
  term: z.int().min(0),
  timeMs: z.int(),
  event: z.enum([
    "coordinator-leads",
    "coordinator-stops",
    "obtain-started",
    "obtained",
    "obtain-failed",
    "published",
    "agent-registered",
    "agent-refused",
    "agent-lost",
    "agent-left",
    "applied",
    "rotation-requested",
    "rotation-ended",
    "command-refused",
    "job-ended",
  ]),
  provider: z.string().optional(),
  generation: z.int().optional(),
  agent: z.string().optional(),
  operator: z.string().optional(),
  reason: z.string().optional(),
  code: z.string().optional(),
  text: z.string().optional(),
});
export type AuditEvent = z.infer<typeof auditEventSchema>;
