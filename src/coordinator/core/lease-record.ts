/** What stands in the lease of a job. Not secret. */
export interface LeaseRecord {
  /** Random for each process: who holds it. Empty: what stands there can't be read. */
  readonly holder: string;
  readonly term: number;
  /** Grows by one with each renewal, so that a standby sees it move. */
  readonly renewals: number;
  /** `released`: take it at once. `ended`: the job is over, standbys exit 0. */
  readonly state: "held" | "released" | "ended";
}
