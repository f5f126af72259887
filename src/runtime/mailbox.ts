/**
 * The driver of every pure machine: a mailbox, one timer, and nothing else. It owns the order in
 * which events are stepped and effects performed; it refuses to know what any of them means.
 *
 * 1. Events are stepped one at a time, in the order of `emit`, whoever emits them and when.
 * 2. The effects of a step are performed in order before the next event is stepped. An effect that
 *    answers at once (`emit` inside `perform`) only queues: no step ever runs inside another.
 * 3. When the mailbox is empty, one timer is armed for the last `wakeAt`.
 * 4. What throws in `step` or `perform` is a defect: the machine stops and reports it exactly once.
 */
import {
  between,
  type CancelTimer,
  type Clock,
  durationMs,
  type MonoMs,
  type Now,
} from "../protocol/time.ts";

/** What a step leads to. `state` may be the object that was given, updated in place. */
export interface Transition<State, Effect> {
  readonly state: State;
  readonly effects: readonly Effect[];
  /** When the machine wants the wake event next; undefined: only when something else happens. */
  readonly wakeAt: MonoMs | undefined;
}

export interface MachineOptions<State, Event, Effect> {
  readonly initial: State;
  /** Pure: the same arguments always lead to the same transition. */
  step(state: State, event: Event, now: Now): Transition<State, Effect>;
  /** Starts one effect. Its outcome comes back through `emit`, now or later. Must not throw. */
  perform(effect: Effect, emit: (event: Event) => void): void;
  /** The event that the timer emits. */
  readonly wake: Event;
  readonly clock: Clock;
  /** Whether the pending timer leaves the process free to end. Default false. */
  readonly background?: boolean;
  /** Called at most once, with what `step` or `perform` threw. The machine is stopped by then. */
  fault(thrown: unknown): void;
}

export interface Machine<State, Event> {
  /** Queues an event, and drains the mailbox unless that is under way. Does nothing once stopped. */
  emit(event: Event): void;
  /** The state after the last step. For reading only; valid until the next step. */
  state(): State;
  /** Drops the mailbox, the effects not yet performed and the timer. Calling it twice does nothing. */
  stop(): void;
  readonly stopped: boolean;
}

/** Makes a machine. Nothing happens before the first `emit`. */
export function runMachine<State, Event, Effect>(
  options: MachineOptions<State, Event, Effect>,
): Machine<State, Event> {
  const { clock } = options;
  let state = options.initial;
  let mailbox: Event[] = [];
  let draining = false;
  let stopped = false;
  let wakeAt: MonoMs | undefined;
  let armed: { readonly at: MonoMs; readonly cancel: CancelTimer } | undefined;

  function disarm(): void {
    armed?.cancel();
    armed = undefined;
  }

  function stop(): void {
    stopped = true;
    mailbox = [];
    disarm();
  }

  function arm(): void {
    if (armed !== undefined && armed.at === wakeAt) return;
    disarm();
    if (wakeAt === undefined) return;
    const delay = durationMs(Math.max(0, between(clock.now().mono, wakeAt)));
    const cancel = clock.timer(
      delay,
      () => {
        armed = undefined;
        emit(options.wake);
      },
      options.background ?? false,
    );
    armed = { at: wakeAt, cancel };
  }

  function drain(): void {
    // An index instead of shift(): a burst of thousands of events stays linear.
    for (let next = 0; next < mailbox.length; next += 1) {
      const event = mailbox[next] as Event;
      const transition = options.step(state, event, clock.now());
      state = transition.state;
      wakeAt = transition.wakeAt;
      for (const effect of transition.effects) {
        if (stopped) return;
        options.perform(effect, emit);
      }
      if (stopped) return;
    }
    mailbox = [];
    arm();
  }

  function emit(event: Event): void {
    if (stopped) return;
    mailbox.push(event);
    if (draining) return;
    draining = true;
    try {
      drain();
    } catch (thrown) {
      stop();
      options.fault(thrown);
    } finally {
      draining = false;
    }
  }

  return {
    emit,
    state: () => state,
    stop,
    get stopped() {
      return stopped;
    },
  };
}
