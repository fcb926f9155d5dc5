/** A tab's way to the event connection: the shared worker's, or one of its own where there is none.

WebSockets are not among the six connections that a browser opens to a server, so that without
shared workers a tab with a connection of its own starves nobody. */
import { EventSocketHub } from "./eventSocket.ts";
import type { FromTab, ToTab } from "./eventMessages.ts";
import { holdLock, whenFree } from "./locks.ts";
import { base } from "./queries.ts";

type Handler = (message: Exclude<ToTab, { kind: "hello" }>) => void;

export class EventTab {
  readonly #handlers = new Map<number, Handler>();
  #send: (message: FromTab) => void = () => {};
  #lastKey = 0;

  constructor() {
    this.#reach();
    const nudge = () => this.#send({ kind: "nudge" });
    for (const name of ["online", "offline", "focus", "pageshow"]) {
      globalThis.addEventListener(name, nudge);
    }
  }

  /** Asks for a stream; what comes of it goes to the handler, until `leave` or its end. */
  follow(subject: Extract<FromTab, { kind: "follow" }>["subject"], lastId: string, handler: Handler) {
    this.#lastKey += 1;
    const key = this.#lastKey;
    this.#handlers.set(key, handler);
    this.#send({ kind: "follow", key, subject, lastId });
    return {
      taken: (n: number) => this.#send({ kind: "taken", key, n }),
      leave: () => {
        if (this.#handlers.delete(key)) this.#send({ kind: "leave", key });
      },
    };
  }

  #reach() {
    const path = `${base}/events`;
    if (typeof SharedWorker === "undefined" || !navigator.locks) {
      const hub = new EventSocketHub(globalThis.location.origin + path);
      this.#send = hub.join((message) => this.#heard(message)).asks;
      return;
    }
    const worker = new SharedWorker(new URL("./eventWorker.ts", import.meta.url), {
      type: "module",
      name: "limpet-events",
    });
    worker.port.onmessage = ({ data }: MessageEvent<ToTab>) => this.#heard(data);
    this.#send = (message) => worker.port.postMessage(message);
    this.#send({ kind: "begin", path });
    const lock = `limpet-events-tab-${crypto.randomUUID()}`;
    void holdLock(lock).then(() => worker.port.postMessage({ kind: "hello", lock }));
  }

  #heard(message: ToTab) {
    if (message.kind === "hello") {
      void whenFree(message.lock).then(() => this.#afresh());
      return;
    }
    const handler = this.#handlers.get(message.key);
    if (message.kind === "ended" || message.kind === "refused") this.#handlers.delete(message.key);
    handler?.(message);
  }

  /** The worker has died: another one is begun, and everything asked for anew. */
  #afresh() {
    const left = [...this.#handlers];
    this.#handlers.clear();
    this.#reach();
    for (const [key, handler] of left) handler({ kind: "ended", key, rest: false });
  }
}
