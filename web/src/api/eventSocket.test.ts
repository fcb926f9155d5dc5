// @vitest-environment node
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { PING_MS, SILENCE_MS } from "./eventHub.ts";
import type { Told, ToTab } from "./eventMessages.ts";
import { EventSocketHub } from "./eventSocket.ts";

class FakeSocket {
  static made: FakeSocket[] = [];
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: string }) => void) | null = null;
  onclose: ((event: { code: number }) => void) | null = null;
  sent: unknown[] = [];
  closed = false;
  constructor(readonly url: string) {
    FakeSocket.made.push(this);
  }
  send(text: string) {
    this.sent.push(JSON.parse(text));
  }
  close() {
    this.closed = true;
  }
  tell(told: Told) {
    this.onmessage?.({ data: JSON.stringify(told) });
  }
}

const last = () => FakeSocket.made.at(-1) as FakeSocket;
const subject = { of: "sandbox", agentId: "agt_1", branch: "main" } as const;

beforeEach(() => {
  FakeSocket.made = [];
  vi.useFakeTimers();
  vi.stubGlobal("WebSocket", FakeSocket);
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

/** A tab that follows one thing, and what it was told. */
function following() {
  const told: ToTab[] = [];
  const hub = new EventSocketHub("https://limpet.test/api/local/events");
  const tab = hub.join((message) => told.push(message));
  tab.asks({ kind: "follow", key: 1, subject, lastId: "" });
  return { hub, tab, told };
}

const answering = (status: number) =>
  vi.stubGlobal("fetch", () => Promise.resolve(new Response(null, { status })));

test("what is asked before the connection is there is sent once it is", () => {
  const { told } = following();
  expect(last().url).toBe("wss://limpet.test/api/local/events");
  expect(last().sent).toEqual([]);
  last().onopen?.();
  expect(last().sent).toEqual([
    { op: "follow-sandbox", sub: 1, virtual_mcp_id: "agt_1", branch: "main" },
  ]);
  last().tell({ kind: "opened", sub: 1 });
  expect(told).toEqual([{ kind: "opened", key: 1 }]);
});

test("why there is no connection is asked of the route itself", async () => {
  answering(401);
  const { told } = following();
  last().onclose?.({ code: 1006 });
  await vi.advanceTimersByTimeAsync(0);
  expect(told).toEqual([{ kind: "refused", key: 1, status: 401 }]);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(FakeSocket.made).toHaveLength(1);
});

test.each([200, 429, 503])("a route that answers %i is tried again", async (status) => {
  answering(status);
  const { tab, told } = following();
  last().onclose?.({ code: 1006 });
  await vi.advanceTimersByTimeAsync(0);
  expect(told).toEqual([{ kind: "ended", key: 1, rest: false }]);
  tab.asks({ kind: "follow", key: 2, subject, lastId: "" });
  await vi.advanceTimersByTimeAsync(1_000);
  expect(FakeSocket.made).toHaveLength(2);
});

test("a sign-in that ends is told, and nothing is tried again", async () => {
  const { told } = following();
  last().onopen?.();
  last().onclose?.({ code: 4401 });
  await vi.advanceTimersByTimeAsync(60_000);
  expect(told).toEqual([{ kind: "refused", key: 1, status: 401 }]);
  expect(FakeSocket.made).toHaveLength(1);
});

test("a connection that is silent is given up, and what it still says is no news", async () => {
  const { tab, told } = following();
  const silent = last();
  silent.onopen?.();
  await vi.advanceTimersByTimeAsync(SILENCE_MS - 1);
  silent.tell({ kind: "keepalive" });
  await vi.advanceTimersByTimeAsync(SILENCE_MS - 1);
  expect(silent.closed).toBe(false);
  tab.asks({ kind: "nudge" });
  await vi.advanceTimersByTimeAsync(PING_MS);
  expect(silent.closed).toBe(true);
  silent.tell({ kind: "opened", sub: 1 });
  expect(told).toEqual([{ kind: "ended", key: 1, rest: false }]);
});

test("a tab that is gone is told nothing, and its streams are left", () => {
  const { hub, tab, told } = following();
  last().onopen?.();
  hub.join(() => {}).asks({ kind: "follow", key: 1, subject, lastId: "" });
  tab.leave();
  expect(last().sent.at(-1)).toEqual({ op: "leave", sub: 1 });
  last().tell({ kind: "opened", sub: 1 });
  expect(told).toEqual([]);
});
