/** Where most scenarios begin: one holder, one standby, agents that hold generation 1. */
import { EvergrantError } from "../../../src/protocol/errors.ts";
import { systemClock } from "../../../src/runtime/system-clock.ts";
import type { AgentsOptions, AgentsProcess } from "./agents-process.ts";
import type { Line } from "./process.ts";
import {
  type CoordinatorProcess,
  type RigOptions,
  STEADY,
  type SystemRig,
  startRig,
  writesOf,
} from "./system-rig.ts";
import type { HeldFrame } from "./tcp-proxy.ts";

export const AGENTS = 5;

export interface Scene {
  readonly rig: SystemRig;
  readonly holder: CoordinatorProcess;
  readonly standby: CoordinatorProcess;
  readonly agents: AgentsProcess;
}

export interface SceneOptions extends RigOptions {
  readonly agents?: Partial<AgentsOptions>;
  readonly holderEnv?: Readonly<Record<string, string>>;
  readonly agentsEnv?: Readonly<Record<string, string>>;
}

/** With the defaults no plan of its own comes sooner than after 87 s. The agents are marked. */
export async function startScene(options: SceneOptions): Promise<Scene> {
  const { rig, holder, agents } = await startLonelyScene(options);
  const standby = await rig.coordinator("b", { standby: true });
  await standby.until(standsBy);
  await agents.mark();
  return { rig, holder, standby, agents };
}

/** The same without a standby. */
export async function startLonelyScene(options: SceneOptions): Promise<Omit<Scene, "standby">> {
  const rig = await startRig(options);
  const holder = await rig.coordinator("a", { env: options.holderEnv ?? {} });
  await holder.leads();
  const agents = await rig.agents({ count: AGENTS, ...options.agents }, options.agentsEnv);
  await agents.untilGeneration(1);
  await agents.mark();
  return { rig, holder, agents };
}

export interface Cycle {
  readonly lifetimeMs: number;
  readonly ratio: number;
}

/** Of a job that renews: the plan comes 5 s after each issue, less a jitter of 0.8 s at most; 35 s are left then. */
export const CYCLE: Cycle = { lifetimeMs: 40_000, ratio: 0.125 };

/**
 * Agents that hold generation 2, whose renewal is planned. The first lives ten times as long: however slowly
 * the processes start, no renewal comes before the scenario begins. The agents are marked.
 */
export async function startCyclingScene(
  options: SceneOptions,
  cycle = CYCLE,
): Promise<Omit<Scene, "standby"> & { readonly issuedAt: number }> {
  const scene = await startLonelyScene({ timing: STEADY, ...options, ...beforeCycle(cycle) });
  return { ...scene, issuedAt: await beginCycle(scene, cycle) };
}

/** What is obtained from now on is not renewed while the scenario lasts: its counts are final. */
export function endCycle(rig: SystemRig): void {
  rig.sts.knobs.lifetimeMs = 10 * CYCLE.lifetimeMs;
}

export const beforeCycle = ({ lifetimeMs, ratio }: Cycle): Cycle => ({
  lifetimeMs: 10 * lifetimeMs,
  ratio,
});

/** Lets the job's agents have a generation 2 of that life, and says when STS was asked for it. */
export async function beginCycle(
  { rig, agents }: Pick<Scene, "rig" | "agents">,
  { lifetimeMs }: Cycle = CYCLE,
): Promise<number> {
  rig.sts.knobs.lifetimeMs = lifetimeMs;
  let issuedAt = 0;
  rig.sts.onCall = () => {
    rig.sts.onCall = undefined;
    issuedAt = systemClock.now().mono;
  };
  await askForRotation(rig);
  await agents.untilGeneration(2);
  await agents.mark();
  return issuedAt;
}

type Fields = Line["fields"];
export const standsBy = (line: Fields): boolean =>
  line["msg"] === "another coordinator leads: standing by";
export const published =
  (generation: number, term?: unknown) =>
  (line: Fields): boolean =>
    line["msg"] === "bundle published" &&
    line["generation"] === generation &&
    (term === undefined || line["term"] === term);
export const putDown = (line: Fields): boolean => line["msg"] === "leadership put down";
export const says =
  (message: string) =>
  (line: Fields): boolean =>
    line["msg"] === message || line["message"] === message;

/** An operator asks for a new generation: what follows is a rotation like any other. */
export async function askForRotation(rig: SystemRig): Promise<void> {
  const operator = await rig.operator();
  await operator.rotate({ text: "system ring" });
}

/**
 * The same where the holder's intent is held back: what it answers the operator may stand behind that, and
 * come late or never. Resolves when it is in, or is not waited for any more.
 */
export async function askUnheard(rig: SystemRig): Promise<void> {
  await askForRotation(rig).catch((thrown: unknown) => {
    if (!(thrown instanceof EvergrantError) || thrown.code !== "NO_COORDINATOR") throw thrown;
  });
}

/** The state write that follows the issuer's next answer, held before the server. */
export function holdResult(rig: SystemRig, holder: CoordinatorProcess): Promise<HeldFrame> {
  return new Promise((met) => {
    rig.sts.onCall = () => {
      rig.sts.onCall = undefined;
      // From here on the holder writes its state for one reason only: the result.
      void holder.nats.holdNext(writesOf(rig, "state")).then(met);
    };
  });
}

/** The next call that reaches STS, met while it is under way: it is answered after `until`. */
export function meetCall(rig: SystemRig, until: Promise<unknown>): Promise<void> {
  return new Promise((met) => {
    rig.sts.onCall = async () => {
      rig.sts.onCall = undefined;
      met();
      await until;
    };
  });
}
