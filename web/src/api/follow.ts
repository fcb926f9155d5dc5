import { type SseEvent, SseParser } from "./sse.ts";

/** The server sends something every 15 s; after this long without a word it is gone. */
const SILENCE_MS = 45_000;
const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 30_000;

type Listener = {
  /** The stream is open; `resumed` when it goes on after the last event that was read. */
  onOpen: (resumed: boolean) => void;
  onEvents: (events: SseEvent[]) => void;
  onLost: () => void;
  /** The server says no (signed out, deleted); nothing more is tried. */
  onRefused: (status: number) => void;
};

/** Wait before the next try after so many failures: 1 s, doubling to 30 s. */
export const pauseAfter = (failures: number) =>
  Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.max(0, failures - 1));

/** Reads an event stream until `stop`, taking it up again where it broke off. */
export async function follow(
  url: string,
  listener: Listener,
  stop: AbortSignal,
  pause: (ms: number, stop: AbortSignal) => Promise<void> = pauseOrWake,
): Promise<void> {
  const parser = new SseParser();
  let failures = 0;
  while (!stop.aborted) {
    const attempt = new AbortController();
    const giveUp = () => attempt.abort();
    stop.addEventListener("abort", giveUp);
    try {
      const answer = await fetch(url, {
        headers: {
          Accept: "text/event-stream",
          ...(parser.lastId && { "Last-Event-ID": parser.lastId }),
        },
        credentials: "same-origin",
        cache: "no-store",
        signal: attempt.signal,
      });
      if (answer.status >= 400 && answer.status < 500 && answer.status !== 429) {
        listener.onRefused(answer.status);
        return;
      }
      if (answer.ok && answer.body) {
        listener.onOpen(parser.lastId !== "");
        await read(answer.body, parser, attempt, (events) => {
          failures = 0;
          listener.onEvents(events);
        });
      }
    } catch {
      // Lost, or never there: it is tried again below.
    } finally {
      stop.removeEventListener("abort", giveUp);
    }
    if (stop.aborted) return;
    failures += 1;
    listener.onLost();
    await pause(pauseAfter(failures), stop);
  }
}

async function read(
  body: ReadableStream<Uint8Array>,
  parser: SseParser,
  attempt: AbortController,
  onEvents: (events: SseEvent[]) => void,
) {
  const reader = body.getReader();
  const text = new TextDecoder();
  while (true) {
    const silence = setTimeout(() => attempt.abort(), SILENCE_MS);
    try {
      const { done, value } = await reader.read();
      if (done) return;
      const events = parser.push(text.decode(value, { stream: true }));
      if (events.length > 0) onEvents(events);
    } finally {
      clearTimeout(silence);
    }
  }
}

/** Waits, but not on when the network or the reader comes back. */
export function pauseOrWake(ms: number, stop: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      globalThis.removeEventListener?.("online", done);
      globalThis.removeEventListener?.("focus", done);
      stop.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    globalThis.addEventListener?.("online", done);
    globalThis.addEventListener?.("focus", done);
    stop.addEventListener("abort", done);
  });
}
