import type { Subject } from "./eventMessages.ts";
import { EventTab } from "./eventTab.ts";
import { pauseAfter, pauseOrWake } from "./pauses.ts";
import type { SseEvent } from "./sse.ts";

type Listener = {
  /** The stream is open; `resumed` when it goes on after the last event that was read. */
  onOpen: (resumed: boolean) => void;
  onEvents: (events: SseEvent[]) => void;
  onLost: () => void;
  /** The server says no (signed out, deleted); nothing more is tried. */
  onRefused: (status: number) => void;
};

/** What was taken is told after so many events, or so much text. */
const TOLD_AFTER_EVENTS = 16;
const TOLD_AFTER_CHARACTERS = 1 << 16;

let shared: EventTab | null = null;

/** Follows a stream until `stop`, taking it up again where it broke off. */
export async function follow(
  subject: Subject,
  listener: Listener,
  stop: AbortSignal,
  tab: Pick<EventTab, "follow"> = (shared ??= new EventTab()),
  pause: (ms: number, stop: AbortSignal) => Promise<void> = pauseOrWake,
): Promise<void> {
  let lastId = "";
  let failures = 0;
  while (!stop.aborted) {
    const end = await once(tab, subject, lastId, stop, listener, (id) => {
      failures = 0;
      lastId = id ?? lastId;
    });
    if (end === "stopped" || stop.aborted) return;
    if (typeof end === "number") {
      listener.onRefused(end);
      return;
    }
    listener.onLost();
    if (end === "rest") {
      failures += 1;
      await pause(pauseAfter(failures), stop);
    }
  }
}

/** One subscription, to its end; a number is the status of a refusal. */
function once(
  tab: Pick<EventTab, "follow">,
  subject: Subject,
  lastId: string,
  stop: AbortSignal,
  listener: Listener,
  onRead: (id: string | null) => void,
): Promise<"again" | "rest" | "stopped" | number> {
  return new Promise((resolve) => {
    let [events, characters] = [0, 0];
    let waiting: SseEvent[] = [];
    const flush = () => {
      const taken = waiting;
      waiting = [];
      if (taken.length > 0 && !stop.aborted) listener.onEvents(taken);
    };
    const stopped = () => {
      stream.leave();
      resolve("stopped");
    };
    const over = (how: "again" | "rest" | number) => {
      flush();
      stop.removeEventListener("abort", stopped);
      resolve(how);
    };
    const stream = tab.follow(subject, lastId, (message) => {
      switch (message.kind) {
        case "opened":
          return listener.onOpen(lastId !== "");
        case "event":
          onRead(message.id);
          events += 1;
          characters += message.data.length;
          if (events >= TOLD_AFTER_EVENTS || characters >= TOLD_AFTER_CHARACTERS) {
            [events, characters] = [0, 0];
            stream.taken(message.n);
          }
          waiting.push({ event: message.event, data: message.data });
          return waiting.length === 1 ? soon(flush) : undefined;
        case "ended":
          return over(message.rest ? "rest" : "again");
        case "refused":
          return over(message.status);
      }
    });
    stop.addEventListener("abort", stopped, { once: true });
  });
}

/** After what has come already: messages that wait are taken in one go. Unlike a timer this is not
held back in a tab that is hidden. */
function soon(work: () => void) {
  const { port1, port2 } = new MessageChannel();
  port1.onmessage = () => {
    port1.close();
    work();
  };
  port2.postMessage(null);
}
