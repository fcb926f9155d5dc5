import type { Asked, Told } from "../api/eventMessages.ts";
import { base } from "../api/queries.ts";
import { SseParser } from "./sse.ts";

type Follow = Extract<Asked, { op: "follow-sandbox" | "follow-thread" }>;

/** The server's event connection, made of the routes that give one stream each: what a test's server
answers there is what comes over the connection. */
export class EventSocketOverRoutes {
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: string }) => void) | null = null;
  onclose: ((event: { code: number }) => void) | null = null;
  readonly #streams = new Map<number, AbortController>();

  constructor() {
    queueMicrotask(() => this.onopen?.());
  }

  send(text: string) {
    const asked = JSON.parse(text) as Asked;
    if (asked.op === "leave") this.#streams.get(asked.sub)?.abort();
    else if (asked.op === "ping") this.#tell({ kind: "pong" });
    else if (asked.op !== "ack") void this.#follow(asked);
  }

  close() {
    for (const stream of this.#streams.values()) stream.abort();
  }

  #tell(told: Told) {
    this.onmessage?.({ data: JSON.stringify(told) });
  }

  async #follow(asked: Follow) {
    const { sub } = asked;
    const left = new AbortController();
    this.#streams.set(sub, left);
    try {
      const answer = await fetch(routeOf(asked), { signal: left.signal });
      if (!answer.ok || !answer.body) {
        return this.#tell({ kind: "refused", sub, status: answer.status });
      }
      this.#tell({ kind: "opened", sub });
      const parser = new SseParser();
      const text = new TextDecoder();
      let n = 0;
      for await (const piece of answer.body) {
        for (const { event, data } of parser.push(text.decode(piece, { stream: true }))) {
          n += 1;
          this.#tell({ kind: "event", sub, n, id: parser.lastId || null, event, data });
        }
      }
    } catch {
      // It broke off, or was left.
    } finally {
      this.#streams.delete(sub);
    }
    if (!left.signal.aborted) this.#tell({ kind: "ended", sub, why: "lost" });
  }
}

function routeOf(asked: Follow) {
  if (asked.op === "follow-thread") {
    const after = asked.after > 0 ? `?after=${asked.after}` : "";
    return `${base}/threads/${asked.thread_id}/events${after}`;
  }
  const query = new URLSearchParams({ virtualMcpId: asked.virtual_mcp_id, branch: asked.branch });
  return `${base}/vm-events?${query}`;
}
