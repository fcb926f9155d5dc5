// @vitest-environment node
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { FromTab, ToTab } from "./eventMessages.ts";
import { EventTab } from "./eventTab.ts";

class FakeWorker {
  static made: FakeWorker[] = [];
  sent: FromTab[] = [];
  port = {
    onmessage: null as ((event: { data: ToTab }) => void) | null,
    postMessage: (message: FromTab) => this.sent.push(message),
  };
  constructor() {
    FakeWorker.made.push(this);
  }
  tell(message: ToTab) {
    this.port.onmessage?.({ data: message });
  }
}

/** Locks that are given free by hand. */
class FakeLocks {
  #waiting = new Map<string, () => void>();
  held: string[] = [];
  request(name: string, work: () => unknown) {
    if (name.includes("-tab-")) {
      this.held.push(name);
      return Promise.resolve(work());
    }
    return new Promise<void>((free) => {
      this.#waiting.set(name, () => free());
    });
  }
  release(name: string) {
    this.#waiting.get(name)?.();
  }
}

const worker = () => FakeWorker.made.at(-1) as FakeWorker;
const subject = { of: "thread", thread: "thr_12345678", after: 0 } as const;
let locks: FakeLocks;

beforeEach(() => {
  FakeWorker.made = [];
  locks = new FakeLocks();
  vi.stubGlobal("SharedWorker", FakeWorker);
  vi.stubGlobal("navigator", { locks });
  vi.stubGlobal("addEventListener", () => {});
});
afterEach(() => vi.unstubAllGlobals());

test("a tab says where the server is, what it follows, and by which lock it lives", async () => {
  const told: ToTab[] = [];
  const stream = new EventTab().follow(subject, "4", (message) => told.push(message));
  await vi.waitFor(() => expect(worker().sent).toHaveLength(3));
  expect(worker().sent).toEqual([
    { kind: "begin", path: "/api/local/events" },
    { kind: "follow", key: 1, subject, lastId: "4" },
    { kind: "hello", lock: locks.held[0] },
  ]);
  worker().tell({ kind: "opened", key: 1 });
  worker().tell({ kind: "opened", key: 2 });
  stream.leave();
  stream.leave();
  worker().tell({ kind: "ended", key: 1, rest: true });
  expect(told).toEqual([{ kind: "opened", key: 1 }]);
  expect(worker().sent.slice(3)).toEqual([{ kind: "leave", key: 1 }]);
});

test("a worker that dies is followed by another, and what it did is over", async () => {
  const told: ToTab[] = [];
  new EventTab().follow(subject, "", (message) => told.push(message));
  worker().tell({ kind: "hello", lock: "limpet-events-worker-1" });
  await Promise.resolve();
  expect(FakeWorker.made).toHaveLength(1);
  locks.release("limpet-events-worker-1");
  await vi.waitFor(() => expect(FakeWorker.made).toHaveLength(2));
  expect(told).toEqual([{ kind: "ended", key: 1, rest: false }]);
  expect(worker().sent[0]).toEqual({ kind: "begin", path: "/api/local/events" });
});
