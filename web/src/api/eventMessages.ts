/** What goes between a tab, the hub of the browser's event connection, and the server. */

/** What a stream is about, and after which event it goes on. */
export type Subject =
  | { of: "sandbox"; agentId: string; branch: string }
  | { of: "thread"; thread: string; after: number };

/** To the hub. A tab numbers its streams itself; `key` is never used again. */
export type FromTab =
  /** First of all: where the server's route is. */
  | { kind: "begin"; path: string }
  | { kind: "hello"; lock: string }
  | { kind: "follow"; key: number; subject: Subject; lastId: string }
  | { kind: "leave"; key: number }
  | { kind: "taken"; key: number; n: number }
  /** The network or the person came back: look whether the connection is still there. */
  | { kind: "nudge" };

/** From the hub. */
export type ToTab =
  | { kind: "hello"; lock: string }
  | { kind: "opened"; key: number }
  | { kind: "event"; key: number; n: number; id: string | null; event: string; data: string }
  /** The stream is over; `rest`: pause before it is asked for again. */
  | { kind: "ended"; key: number; rest: boolean }
  | { kind: "refused"; key: number; status: number };

/** To the server: docs/threads.md. */
export type Asked =
  | {
      op: "follow-sandbox";
      sub: number;
      virtual_mcp_id: string;
      branch: string;
      last_event_id?: string;
    }
  | { op: "follow-thread"; sub: number; thread_id: string; after: number }
  | { op: "leave"; sub: number }
  | { op: "ack"; sub: number; n: number }
  | { op: "ping" };

/** From the server. */
export type Told =
  | { kind: "opened"; sub: number }
  | { kind: "event"; sub: number; n: number; id: string | null; event: string; data: string }
  | { kind: "refused"; sub: number; status: number }
  | { kind: "ended"; sub: number; why: "over" | "lost" | "resync" }
  | { kind: "keepalive" | "pong" }
  | { kind: "bye"; why: "stopping" | "signed-out" };

/** How the server is asked for a stream. */
export function asking(sub: number, subject: Subject, lastId: string): Asked {
  if (subject.of === "sandbox") {
    const { agentId, branch } = subject;
    const resume = lastId ? { last_event_id: lastId } : {};
    return { op: "follow-sandbox", sub, virtual_mcp_id: agentId, branch, ...resume };
  }
  const after = lastId ? Number(lastId) : subject.after;
  return { op: "follow-thread", sub, thread_id: subject.thread, after };
}
