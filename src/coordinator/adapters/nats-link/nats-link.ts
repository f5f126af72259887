/**
 * The coordinator's side of the conversation with agents and operators, over NATS. Owns the opening
 * and proving of what comes in and the sealing and signing of what goes out; refuses to judge: what
 * is genuine is passed on, and the core decides.
 */
import type { Msg, Subscription } from "@nats-io/transport-node";
import { bounded } from "../../../nats/bounded.ts";
import type { Broker } from "../../../nats/connect.ts";
import { openCommand, sealAnswer } from "../../../protocol/control.ts";
import { EvergrantError } from "../../../protocol/errors.ts";
import { currentSet, type JobKeys, publicKeysOf, type VerifyKey } from "../../../protocol/keys.ts";
import type { JobId } from "../../../protocol/names.ts";
import { sameJob } from "../../../protocol/names.ts";
import { sealNotice } from "../../../protocol/notice.ts";
import { settle } from "../../../protocol/outcome.ts";
import { openRegister } from "../../../protocol/register.ts";
import { decodeReport } from "../../../protocol/report.ts";
import {
  AGENT_VERBS,
  type AgentVerb,
  agentOfSubject,
  isInboxOf,
  subject,
} from "../../../protocol/subjects.ts";
import { seconds } from "../../../protocol/time.ts";
import type { AgentLink, LinkEvent } from "../../ports/agent-link.ts";
import { admissions } from "./admission.ts";
import { macKeys } from "./mac-keys.ts";
import { publish, send } from "./outbox.ts";
import { type OpenRegistration, registrationAnswers } from "./registration-answers.ts";
import { RequestTable } from "./request-table.ts";
import { workPool } from "./work-pool.ts";

export interface NatsLinkOptions {
  readonly broker: Broker;
  readonly id: JobId;
  readonly keys: JobKeys;
  /** Who may command. Empty: nobody. */
  readonly operators: readonly VerifyKey[];
  /** An event handler that throws is a fault of ours: it is told here and never ends the connection. */
  readonly onFault?: (error: EvergrantError) => void;
}

/** Who asked has given up by then. */
const REQUEST_LIFE = seconds(60);
/** Of the crypto of joins at a time: enough to keep two cores busy, and the loop free in between. */
const JOINS_AT_ONCE = 8;
const MOST_WAITING = 50_000;
/** Agents ask again after this, so older requests are worth nothing. */
const PATIENCE = seconds(30);

/** Never throws, but for a second `listen`: what fails does so in `done` or as an event. */
export function natsLink(options: NatsLinkOptions): AgentLink {
  const { broker, id, keys, operators } = options;
  const { nc, clock } = broker;
  const admit = admissions(id, publicKeysOf(keys.reveal()).signing);
  const macs = macKeys(keys);
  const registrations = new RequestTable<OpenRegistration>(clock, REQUEST_LIFE);
  const commands = new RequestTable<{ readonly reply: string }>(clock, REQUEST_LIFE);
  const sealAnswerTo = registrationAnswers(id, keys, macs);
  const subscriptions = new Map<string, Subscription>();
  let emitTo: ((event: LinkEvent) => void) | undefined;
  let stopListening: (() => void) | undefined;
  let attending = false;

  const emit = (event: LinkEvent): void => {
    try {
      emitTo?.(event);
    } catch (thrown) {
      options.onFault?.(EvergrantError.from(thrown, "INTERNAL", `handling ${event.kind}`));
    }
  };
  const refuse = (thrown: unknown): void =>
    emit({ kind: "refused", code: EvergrantError.from(thrown, "INTERNAL", "reading").code });
  const pool = (concurrency: number) =>
    workPool({
      clock,
      concurrency,
      capacity: MOST_WAITING,
      patience: PATIENCE,
      onDropped: () => emit({ kind: "refused", code: "MESSAGE_EXPIRED" }),
    });
  const joins = pool(JOINS_AT_ONCE);
  // Apart, so that a command is heard in the middle of ten thousand joins.
  const controls = pool(2);

  const onRegister = async (name: string, bytes: Uint8Array, reply: string): Promise<void> => {
    const opened = await openRegister(bytes, keys.reveal());
    const { token, ticket, replyKey, ...body } = opened.body;
    if (!sameJob(body, id)) {
      throw new EvergrantError("MESSAGE_FOR_OTHER_JOB", "a register request for another job");
    }
    // The server lets an agent publish under its own name only (permissions.ts).
    if (body.agent !== name) {
      throw new EvergrantError("MESSAGE_FORGED", "a register request under another name");
    }
    const admission = await admit(opened.body);
    const request = registrations.add({ body, replyKey, set: opened.set, reply, admission });
    emit({ kind: "register", request, body, admission });
  };
  const onCommand = async (bytes: Uint8Array, reply: string): Promise<void> => {
    const envelope = await openCommand(bytes, operators);
    emit({ kind: "command", request: commands.add({ reply }), envelope });
  };
  const onReport = (received: string, bytes: Uint8Array): void => {
    const report = decodeReport(bytes, received, macs.of);
    macs.keep();
    emit({ kind: "report", report });
  };
  const onRequest = (verb: "register" | "control", message: Msg): void => {
    const { subject: received, data, reply } = message;
    const name = verb === "register" ? agentOfSubject(received) : undefined;
    if (reply === undefined || reply === "") {
      throw new EvergrantError("MESSAGE_MALFORMED", "a request without a reply subject");
    }
    // Else a request could make us write our own lease, with our permissions.
    if (!isInboxOf(reply, id, name === undefined ? "operator" : "agent", name)) {
      throw new EvergrantError("MESSAGE_FORGED", "a reply subject that is not the asker's inbox");
    }
    // A copy: `data` is a view (a Buffer, whose own `slice` makes another one) of all that the socket
    // read at once, which would be kept for as long as the request waits.
    const bytes = new Uint8Array(data);
    if (name === undefined) controls.add(() => onCommand(bytes, reply).catch(refuse));
    else joins.add(() => onRegister(name, bytes, reply).catch(refuse));
  };
  const hear = (verb: AgentVerb | "control", message: Msg): void => {
    if (!attending) return;
    if (verb === "register" || verb === "control") onRequest(verb, message);
    else onReport(message.subject, message.data);
  };
  const subscribe = (): void => {
    const wanted = [
      ...AGENT_VERBS.map((verb) => ({ verb, one: subject.agent(id, verb, "*") })),
      { verb: "control" as const, one: subject.control(id) },
    ];
    for (const { verb, one } of wanted) {
      // The library drops a subscription that the server refuses: it is made anew at the next connect.
      if (subscriptions.get(one)?.isClosed() === false) continue;
      const callback = (error: Error | null, message: Msg): void => {
        if (error !== null) return; // told by the broker's events
        try {
          hear(verb, message);
        } catch (thrown) {
          refuse(thrown);
        }
      };
      subscriptions.set(one, nc.subscribe(one, { callback }));
    }
  };
  /** `connected` means that the subscriptions are there too. */
  const announce = (): void => {
    try {
      subscribe();
    } catch {
      return; // closed in between
    }
    bounded(clock, seconds(5), nc.flush(), () => undefined).then(
      () => broker.connected() && emit({ kind: "connected" }),
      () => undefined,
    );
  };

  return {
    listen(next) {
      if (emitTo !== undefined) throw new EvergrantError("INTERNAL", "listening already");
      emitTo = next;
      stopListening = broker.listen((event) => {
        if (event.kind === "connected") announce();
        if (event.kind === "disconnected" || event.kind === "closed")
          emit({ kind: "disconnected" });
      });
      if (broker.connected()) announce();
    },
    attend(on) {
      attending = on;
    },
    answerRegister(request, decision, done) {
      const open = registrations.take(request);
      const answer = async (): Promise<void> => {
        if (open === undefined) throw new EvergrantError("MESSAGE_EXPIRED", "no such request");
        publish(broker, open.reply, await sealAnswerTo(open, decision));
      };
      settle(answer, done, "INTERNAL", "answering a registration");
    },
    answerCommand(request, answer, done) {
      const open = commands.take(request);
      const reply = async (): Promise<void> => {
        if (open === undefined) throw new EvergrantError("MESSAGE_EXPIRED", "no such request");
        publish(broker, open.reply, await sealAnswer(answer, currentSet(keys.reveal()).signing));
      };
      settle(reply, done, "INTERNAL", "answering a command");
    },
    push(agents, sealed, done) {
      const letters = function* () {
        for (const agent of agents) yield { subject: subject.push(id, agent), data: sealed };
      };
      settle(() => send(broker, letters()), done, "BROKER_UNAVAILABLE", "pushing the bundle");
    },
    notify(notice, done) {
      const tell = async (): Promise<void> => {
        const data = await sealNotice(notice, currentSet(keys.reveal()).signing);
        await send(broker, [{ subject: subject.notice(id), data }]);
      };
      settle(tell, done, "BROKER_UNAVAILABLE", "sending a notice");
    },
    close(done) {
      stopListening?.();
      for (const subscription of subscriptions.values()) {
        if (!subscription.isClosed()) subscription.unsubscribe();
      }
      emitTo = () => undefined;
      const ended = Promise.all([joins.close(), controls.close()]).then(() => undefined);
      settle(() => bounded(clock, seconds(2), ended, () => undefined), done, "INTERNAL", "closing");
    },
  };
}
