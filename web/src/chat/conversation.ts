/** A thread as its events tell it: turns, each a message and what came of it. Pure. */
import type {
  HowItEnded,
  KeptEvent,
  RunUsage,
  Thread,
  ThreadEvent,
} from "../api/threadTypes.ts";

/** A tool that was called; `result` is null while it runs, `output` what it has printed so far. */
export type ToolCall = {
  kind: "tool";
  key: string;
  name: string;
  input: Record<string, unknown>;
  title: string;
  output: string;
  result: { ok: boolean; output: string; diff: string | null } | null;
};

export type Item =
  | { kind: "text" | "thinking"; key: string; text: string }
  | ToolCall
  | { kind: "notice"; key: string; text: string };

export type Turn = {
  /** The message's id. */
  key: string;
  text: string;
  author: string;
  at: string;
  run: string | null;
  model: string;
  state: "sent" | "queued" | "running" | HowItEnded;
  items: Item[];
  usage: RunUsage | null;
  error: string | null;
  startedAt: string | null;
  finishedAt: string | null;
  /** The snapshots of the workspace before and after it. */
  before: string | null;
  after: string | null;
};

export type Conversation = {
  connected: boolean;
  /** How often the stream was opened: 0 before the first time. */
  opened: number;
  refused: number | null;
  gone: boolean;
  /** Everything that had happened before it was opened is here. */
  caughtUp: boolean;
  seq: number;
  thread: Thread | null;
  turns: Turn[];
};

/** What a command prints is kept up to this much while it runs, its end. */
export const MAX_OUTPUT_CHARACTERS = 60_000;

export const nothingSaid: Conversation = {
  connected: false,
  opened: 0,
  refused: null,
  gone: false,
  caughtUp: false,
  seq: 0,
  thread: null,
  turns: [],
};

/** The conversation after what the stream told: `[name, data]` each. */
export function afterTold(before: Conversation, told: [string, unknown][]): Conversation {
  return told.reduce((now, [name, data]) => afterOne(now, name, data), before);
}

function afterOne(now: Conversation, name: string, data: unknown): Conversation {
  switch (name) {
    case "thread":
      return isObject(data) ? { ...now, thread: data as unknown as Thread } : now;
    case "caught_up":
      return now.caughtUp ? now : { ...now, caughtUp: true };
    case "gone":
      return { ...now, gone: true };
    case "event":
      return isKept(data) ? afterKept(now, data) : now;
    default:
      return now;
  }
}

function afterKept(now: Conversation, { seq, run, at, event }: KeptEvent): Conversation {
  if (seq <= now.seq) return now;
  return { ...now, seq, turns: turnsAfter(now.turns, event, run, at, seq) };
}

function turnsAfter(
  turns: Turn[],
  event: ThreadEvent,
  run: string | null,
  at: string,
  seq: number,
): Turn[] {
  switch (event.kind) {
    case "user_message":
      return [...turns, newTurn(event, at)];
    case "run_started":
      return changed(turns, turns.findIndex(({ key }) => key === event.message), (turn) => ({
        ...turn,
        run: event.run,
        model: event.model,
        state: "running",
        startedAt: turn.startedAt ?? at,
      }));
    case "checkpoint":
      return changed(turns, indexOf(turns, event.run), (turn) => ({
        ...turn,
        [event.when]: event.snapshot,
      }));
    case "run_finished": {
      // A message that was taken back had no run yet: of those that wait it is the first.
      const known = indexOf(turns, event.run);
      const index = known >= 0 ? known : turns.findIndex(({ state }) => waits(state));
      return changed(turns, index, (turn) => ({
        ...turn,
        state: event.how,
        error: event.error,
        finishedAt: at,
        items: turn.items.map(ended),
      }));
    }
    case "usage": {
      const { kind: _, ...usage } = event;
      return changed(turns, indexOf(turns, run), (turn) => ({ ...turn, usage }));
    }
    default: {
      const index = run === null ? turns.length - 1 : indexOf(turns, run);
      return changed(turns, index, (turn) => {
        const items = itemsAfter(turn.items, event, seq);
        return items === turn.items ? turn : { ...turn, items };
      });
    }
  }
}

const waits = (state: Turn["state"]) => state === "queued" || state === "sent";

function newTurn(said: ThreadEvent & { kind: "user_message" }, at: string): Turn {
  return {
    key: said.id,
    text: said.text,
    author: said.author,
    at,
    run: null,
    model: "",
    state: said.queued ? "queued" : "sent",
    items: [],
    usage: null,
    error: null,
    startedAt: null,
    finishedAt: null,
    before: null,
    after: null,
  };
}

function itemsAfter(items: Item[], event: ThreadEvent, seq: number): Item[] {
  switch (event.kind) {
    case "text":
    case "thinking": {
      const key = `${event.kind} ${event.part}`;
      const index = items.findIndex((item) => item.key === key);
      if (index < 0) return [...items, { kind: event.kind, key, text: event.delta }];
      return changed(items, index, (item) =>
        item.kind === event.kind ? { ...item, text: item.text + event.delta } : item,
      );
    }
    case "tool_started": {
      const { call, name, input, title } = event;
      return [...items, { kind: "tool", key: call, name, input, title, output: "", result: null }];
    }
    case "tool_output":
      return tool(items, event.call, (call) => ({
        ...call,
        output: (call.output + event.delta).slice(-MAX_OUTPUT_CHARACTERS),
      }));
    case "tool_finished": {
      const { ok, output, diff } = event;
      return tool(items, event.call, (call) => ({ ...call, result: { ok, output, diff } }));
    }
    case "notice":
      return [...items, { kind: "notice", key: `notice ${seq}`, text: event.text }];
    default:
      return items;
  }
}

const tool = (items: Item[], call: string, change: (call: ToolCall) => ToolCall) =>
  changed(
    items,
    items.findLastIndex((item) => item.kind === "tool" && item.key === call),
    (item) => (item.kind === "tool" ? change(item) : item),
  );

/** A tool whose end was never told ended with its run. */
const ended = (item: Item): Item =>
  item.kind === "tool" && item.result === null
    ? { ...item, result: { ok: false, output: item.output, diff: null } }
    : item;

const indexOf = (turns: Turn[], run: string | null) =>
  run === null ? -1 : turns.findLastIndex((turn) => turn.run === run);

/** The list with one member changed; itself where there is no such member. */
function changed<T>(list: T[], index: number, change: (member: T) => T): T[] {
  const member = list[index];
  if (member === undefined) return list;
  const made = change(member);
  return made === member ? list : list.with(index, made);
}

const isObject = (data: unknown): data is Record<string, unknown> =>
  typeof data === "object" && data !== null;

const isKept = (data: unknown): data is KeptEvent =>
  isObject(data) && typeof data.seq === "number" && isObject(data.event);
