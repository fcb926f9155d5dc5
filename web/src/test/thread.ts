import type { KeptEvent, Run, Thread, ThreadEvent } from "../api/threadTypes.ts";

/** A thread and its events, as the API shows them. */
export const thread: Thread = {
  id: "thrd_11111111",
  agent_id: "agt_1",
  branch: "limpet/calm-cove",
  title: "Dark hero",
  status: "idle",
  harness: "decopilot",
  model: null,
  created_by: "ada",
  may_write: true,
  archived: false,
  last_seq: 0,
  run: null,
  queued: 0,
  usage: { requests: 0, input_tokens: 0, output_tokens: 0, cache_read_tokens: 0, cost_usd: null },
  created_at: "2026-01-01T00:00:00Z",
  updated_at: "2026-01-01T00:00:00Z",
};

export const run: Run = {
  id: "r1",
  message: "m1",
  prompt: "Make it dark",
  status: "done",
  harness: "decopilot",
  model: null,
  usage: thread.usage,
  checkpoint_before: "s1",
  checkpoint_after: "s2",
  undone: false,
  error: null,
  created_at: "2026-01-01T00:00:00Z",
  started_at: "2026-01-01T00:00:00Z",
  finished_at: "2026-01-01T00:00:05Z",
};

/** A part of an event stream. */
export const sse = (event: string, data: unknown, id?: number) =>
  `${id === undefined ? "" : `id: ${id}\n`}event: ${event}\ndata: ${JSON.stringify(data)}\n\n`;

/** What happened in run r1, as the stream tells it from `first` on. */
export function happened(first: number, ...events: ThreadEvent[]): string {
  return events
    .map((event, index) => {
      const seq = first + index;
      const of = event.kind === "user_message" ? null : "r1";
      const kept: KeptEvent = { seq, run: of, at: `2026-01-01T00:00:0${seq % 10}Z`, event };
      return sse("event", kept, seq);
    })
    .join("");
}
