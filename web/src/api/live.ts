import type { SseEvent } from "./sse.ts";
import type { Sandbox } from "./types.ts";

export type Phase = {
  kind: string;
  bytes?: number;
  total?: number;
  percent?: number;
  message?: string;
  hint?: string;
  reason?: string;
};
export type Lifecycle = { phase: string; error?: string; port?: number; htmlSupport?: boolean };

/** What the event stream has told of a sandbox so far. */
export type Live = {
  connected: boolean;
  /** How often the stream was opened: 0 before the first time. */
  opened: number;
  refused: number | null;
  phase: Phase | null;
  lifecycle: Lifecycle | null;
  logs: Record<string, string>;
  /** How many dev servers came up. */
  reloads: number;
};

export const MAX_LOG_CHARACTERS = 200_000;
/** Errors of the page in the preview, beside the sandbox's own logs. */
export const PAGE_LOG = "page";

export const nothingYet: Live = {
  connected: false,
  opened: 0,
  refused: null,
  phase: null,
  lifecycle: null,
  logs: {},
  reloads: 0,
};

/** The state when the stream opens: one that does not resume tells everything anew. */
export function afterOpening(live: Live, resumed: boolean): Live {
  const logs = resumed ? live.logs : pageLogOf(live);
  return { ...live, connected: true, refused: null, opened: live.opened + 1, logs };
}

/** The state after an event; pure. */
export function afterEvent(live: Live, name: string, data: unknown): Live {
  const told = (data ?? {}) as Record<string, unknown>;
  switch (name) {
    case "phase":
      return { ...live, phase: told as Phase };
    case "lifecycle":
      return { ...live, lifecycle: (told.state as Lifecycle | undefined) ?? null };
    case "log":
      return withLog(live, String(told.source), String(told.data ?? ""));
    case "reload":
      return { ...live, reloads: live.reloads + 1 };
    case "resync":
      return { ...live, logs: pageLogOf(live) };
    case "gone":
      return { ...live, lifecycle: null, phase: null };
    case "sandbox":
      return asleep(told as Sandbox) ? { ...live, lifecycle: null } : live;
    default:
      return live;
  }
}

export function withLog(live: Live, source: string, text: string): Live {
  const grown = ((live.logs[source] ?? "") + text).slice(-MAX_LOG_CHARACTERS);
  return { ...live, logs: { ...live.logs, [source]: grown } };
}

/** The state after several events; what is no JSON is passed over. */
export function afterEvents(live: Live, events: SseEvent[]): Live {
  return events.reduce((now, { event, data }) => afterEvent(now, event, json(data)), live);
}

/** The newest word on the sandbox itself among these events. */
export function sandboxAmong(events: SseEvent[]): Sandbox | undefined {
  const last = events.findLast(({ event }) => event === "sandbox");
  return last ? (json(last.data) as Sandbox | undefined) : undefined;
}

/** Whether nothing runs in it; what its daemon said before means nothing then. */
export const asleep = (box: Sandbox | null | undefined) =>
  box === null || box?.state === "stopped" || box?.state === "failed";

function pageLogOf(live: Live): Record<string, string> {
  const page = live.logs[PAGE_LOG];
  return page ? { [PAGE_LOG]: page } : {};
}

/** What an event carries; nothing when it is no JSON. */
export function json(data: string): unknown {
  try {
    return JSON.parse(data) as unknown;
  } catch {
    return undefined;
  }
}
