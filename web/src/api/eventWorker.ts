/** The shared worker: one for all tabs of the browser, and one event connection in it.

A tab holds a lock for as long as it lives, and so does this worker: whoever gets the other's lock
knows that the other is dead, however it died. */
import type { FromTab, ToTab } from "./eventMessages.ts";
import { EventSocketHub } from "./eventSocket.ts";
import { holdLock, whenFree } from "./locks.ts";

const scope = globalThis as unknown as { onconnect: ((event: MessageEvent) => void) | null };
const lock = `limpet-events-worker-${crypto.randomUUID()}`;
const alive = holdLock(lock);
let hub: EventSocketHub | null = null;

scope.onconnect = ({ ports: [port] }) => {
  if (!port) return;
  const tell = (message: ToTab) => port.postMessage(message);
  let tab: ReturnType<EventSocketHub["join"]> | null = null;
  port.onmessage = ({ data }: MessageEvent<FromTab>) => {
    if (data.kind === "begin") {
      hub ??= new EventSocketHub(globalThis.location.origin + data.path);
      tab ??= hub.join(tell);
    } else if (data.kind === "hello") {
      void whenFree(data.lock).then(() => tab?.leave());
    } else {
      tab?.asks(data);
    }
  };
  void alive.then(() => tell({ kind: "hello", lock }));
};
