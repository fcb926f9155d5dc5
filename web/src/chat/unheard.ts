import type { Turn } from "./conversation.ts";

type Said = { message: string; text: string; at: number };

/** The turns, and after them what was said a moment ago and the stream has not told yet. */
export function withUnheard(turns: Turn[], said: Said[]): Turn[] {
  const unheard = said.filter(({ message }) => !turns.some(({ key }) => key === message));
  if (unheard.length === 0) return turns;
  const busy = turns.some(({ state }) => state === "running" || state === "queued");
  return [
    ...turns,
    ...unheard.map(({ message, text, at }): Turn => ({
      key: message,
      text,
      author: "",
      at: new Date(at).toISOString(),
      run: null,
      model: "",
      state: busy ? "queued" : "sent",
      items: [],
      usage: null,
      error: null,
      startedAt: null,
      finishedAt: null,
      before: null,
      after: null,
    })),
  ];
}
