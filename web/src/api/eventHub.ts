/** What the hub of the event connection does about everything that happens to it; pure.

The hub keeps no place in any stream: a tab knows the last event that it read, and asks again with
it. So a connection that is lost, a server that is another one, and a tab that slept are one case. */
import { type Asked, asking, type FromTab, type Told, type ToTab } from "./eventMessages.ts";
import { pauseAfter } from "./pauses.ts";

/** The server says something every 15 s; after this long without a word it is gone. */
export const SILENCE_MS = 45_000;
/** How long an answer to a ping may take: a busy machine is no lost connection. */
export const PING_MS = 15_000;
/** How long a connection is kept that nobody needs: the next page needs one again. */
export const IDLE_MS = 10_000;

type Follow = Extract<FromTab, { kind: "follow" }>;
type Stream = { tab: number; ask: Follow };

export type Hub = {
  link: "idle" | "connecting" | "open" | "waiting";
  /** Attempts in a row after which nothing was heard. */
  failures: number;
  /** By the number that the server knows a stream by; none is used twice. */
  streams: ReadonlyMap<number, Stream>;
  next: number;
};

export type Happening =
  | { what: "asked"; tab: number; message: FromTab }
  | { what: "tab-gone"; tab: number }
  | { what: "connected" }
  | { what: "heard"; told: Told }
  /** `refused` is the status of a server that says no. */
  | { what: "disconnected"; refused: number | null }
  | { what: "retry" | "silent" | "unneeded" };

export type Timer = "retry" | "silent" | "unneeded";

export type Effect =
  | { do: "connect" | "disconnect" }
  | { do: "send"; message: Asked }
  | { do: "tell"; tab: number; message: ToTab }
  | { do: "set"; timer: Timer; ms: number }
  | { do: "clear"; timer: Timer };

type Step = [Hub, Effect[]];

export const newHub: Hub = { link: "idle", failures: 0, streams: new Map(), next: 1 };

export function afterHappening(hub: Hub, happening: Happening): Step {
  switch (happening.what) {
    case "asked":
      return asked(hub, happening.tab, happening.message);
    case "tab-gone":
      return without(hub, (stream) => stream.tab === happening.tab);
    case "connected":
      return [
        { ...hub, link: "open" },
        [
          { do: "set", timer: "silent", ms: SILENCE_MS },
          ...[...hub.streams].map(([sub, { ask }]) => sending(sub, ask)),
        ],
      ];
    case "heard":
      return heard(hub, happening.told);
    case "disconnected":
      return lost(hub, happening.refused);
    case "silent": {
      const [after, effects] = lost(hub, null);
      return [after, [{ do: "disconnect" }, ...effects]];
    }
    case "retry":
      if (hub.link !== "waiting") return [hub, []];
      return hub.streams.size > 0 ? connecting(hub) : [{ ...hub, link: "idle", failures: 0 }, []];
    case "unneeded":
      if (hub.streams.size > 0 || hub.link === "idle") return [hub, []];
      return [
        { ...hub, link: "idle", failures: 0 },
        [{ do: "disconnect" }, { do: "clear", timer: "silent" }, { do: "clear", timer: "retry" }],
      ];
  }
}

function asked(hub: Hub, tab: number, message: FromTab): Step {
  switch (message.kind) {
    case "follow": {
      const sub = hub.next;
      const streams = new Map(hub.streams).set(sub, { tab, ask: message });
      const grown = { ...hub, streams, next: sub + 1 };
      const kept: Effect = { do: "clear", timer: "unneeded" };
      if (hub.link === "open") return [grown, [kept, sending(sub, message)]];
      if (hub.link !== "idle") return [grown, [kept]];
      const [after, effects] = connecting(grown);
      return [after, [kept, ...effects]];
    }
    case "leave":
      return without(hub, (stream) => stream.tab === tab && stream.ask.key === message.key);
    case "taken": {
      const sub = [...hub.streams].find(
        ([, stream]) => stream.tab === tab && stream.ask.key === message.key,
      )?.[0];
      if (sub === undefined || hub.link !== "open") return [hub, []];
      return [hub, [{ do: "send", message: { op: "ack", sub, n: message.n } }]];
    }
    case "nudge":
      if (hub.link === "waiting") return connecting(hub);
      if (hub.link !== "open") return [hub, []];
      return [
        hub,
        [
          { do: "send", message: { op: "ping" } },
          { do: "set", timer: "silent", ms: PING_MS },
        ],
      ];
    case "begin":
    case "hello":
      return [hub, []];
  }
}

function heard(hub: Hub, told: Told): Step {
  const alive: Effect = { do: "set", timer: "silent", ms: SILENCE_MS };
  const well = hub.failures === 0 ? hub : { ...hub, failures: 0 };
  if (!("sub" in told)) return [well, [alive]];
  const stream = hub.streams.get(told.sub);
  if (!stream) return [well, [alive]]; // it was left a moment ago
  const { tab, ask } = stream;
  const tell = (message: ToTab): Effect => ({ do: "tell", tab, message });
  switch (told.kind) {
    case "opened":
      return [well, [alive, tell({ kind: "opened", key: ask.key })]];
    case "event": {
      const { n, id, event, data } = told;
      return [well, [alive, tell({ kind: "event", key: ask.key, n, id, event, data })]];
    }
    default: {
      const [after, effects] = forgotten(well, [told.sub]);
      const message: ToTab =
        told.kind === "refused"
          ? { kind: "refused", key: ask.key, status: told.status }
          : { kind: "ended", key: ask.key, rest: told.why !== "resync" };
      return [after, [alive, tell(message), ...effects]];
    }
  }
}

/** The connection is gone: tabs are told, and those that live ask again. */
function lost(hub: Hub, refused: number | null): Step {
  if (hub.link !== "open" && hub.link !== "connecting") return [hub, []];
  const told = [...hub.streams.values()].map(
    ({ tab, ask: { key } }): Effect => ({
      do: "tell",
      tab,
      message:
        refused === null ? { kind: "ended", key, rest: false } : { kind: "refused", key, status: refused },
    }),
  );
  const quiet: Effect = { do: "clear", timer: "silent" };
  const streams = new Map<number, Stream>();
  if (refused !== null || hub.streams.size === 0) {
    return [{ ...hub, streams, link: "idle", failures: 0 }, [quiet, ...told]];
  }
  const failures = hub.failures + 1;
  return [
    { ...hub, streams, link: "waiting", failures },
    [quiet, { do: "set", timer: "retry", ms: pauseAfter(failures) }, ...told],
  ];
}

function without(hub: Hub, which: (stream: Stream) => boolean): Step {
  const left = [...hub.streams].filter(([, stream]) => which(stream)).map(([sub]) => sub);
  const [after, effects] = forgotten(hub, left);
  if (hub.link !== "open") return [after, effects];
  return [after, [...left.map((sub): Effect => ({ do: "send", message: { op: "leave", sub } })), ...effects]];
}

function forgotten(hub: Hub, subs: number[]): Step {
  if (subs.length === 0) return [hub, []];
  const streams = new Map(hub.streams);
  for (const sub of subs) streams.delete(sub);
  return [
    { ...hub, streams },
    streams.size === 0 ? [{ do: "set", timer: "unneeded", ms: IDLE_MS }] : [],
  ];
}

const connecting = (hub: Hub): Step => [
  { ...hub, link: "connecting" },
  [
    { do: "clear", timer: "retry" },
    { do: "connect" },
    // A handshake that gets no answer at all is given up like a silent connection.
    { do: "set", timer: "silent", ms: SILENCE_MS },
  ],
];

const sending = (sub: number, { subject, lastId }: Follow): Effect => ({
  do: "send",
  message: asking(sub, subject, lastId),
});
