// @vitest-environment node
import { describe, expect, test } from "vitest";
import {
  afterHappening,
  type Effect,
  type Happening,
  type Hub,
  IDLE_MS,
  newHub,
  PING_MS,
  SILENCE_MS,
} from "./eventHub.ts";
import type { FromTab, Subject, Told } from "./eventMessages.ts";

const sandbox: Subject = { of: "sandbox", agentId: "agt_1", branch: "main" };
const thread: Subject = { of: "thread", thread: "thr_12345678", after: 4 };
const asked = (tab: number, message: FromTab): Happening => ({ what: "asked", tab, message });
const wants = (tab: number, key: number, subject: Subject = sandbox, lastId = "") =>
  asked(tab, { kind: "follow", key, subject, lastId });
const heard = (told: Told): Happening => ({ what: "heard", told });

/** The hub after all this, and what the last of it made it do. */
function after(...happenings: Happening[]): [Hub, Effect[]] {
  let effects: Effect[] = [];
  let hub = newHub;
  for (const one of happenings) [hub, effects] = afterHappening(hub, one);
  return [hub, effects];
}

const doing = (effects: Effect[], what: Effect["do"]) => effects.filter((one) => one.do === what);
const sent = (effects: Effect[]) => doing(effects, "send").map((one) => "message" in one && one.message);
const told = (effects: Effect[]) =>
  doing(effects, "tell").map((one) => one.do === "tell" && [one.tab, one.message]);

const two = [wants(1, 1), wants(2, 1, thread, "9"), { what: "connected" }] as Happening[];

describe("one connection", () => {
  test("is made for the first stream, and carries all of them", () => {
    expect(doing(after(wants(1, 1))[1], "connect")).toHaveLength(1);
    expect(doing(after(wants(1, 1), wants(2, 1))[1], "connect")).toHaveLength(0);
    const [hub, effects] = after(...two);
    expect(hub.link).toBe("open");
    expect(sent(effects)).toEqual([
      { op: "follow-sandbox", sub: 1, virtual_mcp_id: "agt_1", branch: "main" },
      { op: "follow-thread", sub: 2, thread_id: "thr_12345678", after: 9 },
    ]);
    expect(sent(after(...two, wants(1, 2, thread))[1])).toEqual([
      { op: "follow-thread", sub: 3, thread_id: "thr_12345678", after: 4 },
    ]);
  });

  test("brings each tab what is its own", () => {
    const event = { kind: "event", n: 1, id: "b-1", event: "log", data: "{}" } as const;
    expect(told(after(...two, heard({ ...event, sub: 2 }))[1])).toEqual([[2, { ...event, key: 1 }]]);
    expect(told(after(...two, heard({ ...event, sub: 7 }))[1])).toEqual([]);
    expect(sent(after(...two, asked(2, { kind: "taken", key: 1, n: 16 }))[1])).toEqual([
      { op: "ack", sub: 2, n: 16 },
    ]);
  });

  test("is given up a while after the last stream, unless another comes", () => {
    const gone: Happening[] = [...two, { what: "tab-gone", tab: 1 }, asked(2, { kind: "leave", key: 1 })];
    const [, effects] = after(...gone);
    expect(sent(effects)).toEqual([{ op: "leave", sub: 2 }]);
    expect(doing(effects, "set")).toEqual([{ do: "set", timer: "unneeded", ms: IDLE_MS }]);
    const [idle, ends] = after(...gone, { what: "unneeded" });
    expect([idle.link, doing(ends, "disconnect").length]).toEqual(["idle", 1]);
    const [kept, nothing] = after(...gone, wants(3, 1), { what: "unneeded" });
    expect([kept.link, nothing]).toEqual(["open", []]);
  });
});

describe("a connection that is lost", () => {
  const lost: Happening = { what: "disconnected", refused: null };

  test("is told to every tab, which asks again with the last event that it read", () => {
    const [hub, effects] = after(...two, lost);
    expect(told(effects)).toEqual([
      [1, { kind: "ended", key: 1, rest: false }],
      [2, { kind: "ended", key: 1, rest: false }],
    ]);
    expect(hub.streams.size).toBe(0);
    const again: Happening[] = [...two, lost, wants(1, 2, sandbox, "b-7"), { what: "retry" }];
    expect(doing(after(...again)[1], "connect")).toHaveLength(1);
    expect(sent(after(...again, { what: "connected" })[1])).toEqual([
      { op: "follow-sandbox", sub: 3, virtual_mcp_id: "agt_1", branch: "main", last_event_id: "b-7" },
    ]);
  });

  test("is tried again more and more slowly, until something is heard", () => {
    const story: Happening[] = [...two];
    const pauses = [1, 2, 3, 4, 5, 6, 7].map((key) => {
      story.push(lost, wants(1, key + 1), { what: "retry" }, { what: "connected" });
      return doing(after(...story.slice(0, -3))[1], "set").map((one) => one.do === "set" && one.ms)[0];
    });
    expect(pauses).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
    expect(after(...story, heard({ kind: "keepalive" }))[0].failures).toBe(0);
  });

  test("is not tried for tabs that are no more", () => {
    const [hub, effects] = after(...two, lost, { what: "retry" });
    expect([hub.link, doing(effects, "connect")]).toEqual(["idle", []]);
  });

  test("is tried at once when somebody comes back", () => {
    const [hub, effects] = after(...two, lost, wants(1, 2), asked(1, { kind: "nudge" }));
    expect([hub.link, doing(effects, "connect").length]).toEqual(["connecting", 1]);
  });

  test("is noticed by its silence, soon when somebody comes back", () => {
    const [, open] = after(...two);
    expect(doing(open, "set")).toEqual([{ do: "set", timer: "silent", ms: SILENCE_MS }]);
    const [, effects] = after(...two, asked(1, { kind: "nudge" }));
    expect(sent(effects)).toEqual([{ op: "ping" }]);
    expect(doing(effects, "set")).toEqual([{ do: "set", timer: "silent", ms: PING_MS }]);
    const [hub, gone] = after(...two, { what: "silent" });
    expect([hub.link, gone[0]]).toEqual(["waiting", { do: "disconnect" }]);
    expect(told(gone)).toHaveLength(2);
  });

  test("is not tried again when the server says no", () => {
    const [hub, effects] = after(...two, { what: "disconnected", refused: 401 });
    expect(hub.link).toBe("idle");
    expect(told(effects)).toEqual([
      [1, { kind: "refused", key: 1, status: 401 }],
      [2, { kind: "refused", key: 1, status: 401 }],
    ]);
    expect(doing(effects, "set")).toEqual([]);
  });
});

test("a stream that ends is told to its tab alone; one that was not read comes back at once", () => {
  const ended = (why: "over" | "resync") => told(after(...two, heard({ kind: "ended", sub: 1, why }))[1]);
  expect(ended("over")).toEqual([[1, { kind: "ended", key: 1, rest: true }]]);
  expect(ended("resync")).toEqual([[1, { kind: "ended", key: 1, rest: false }]]);
  expect(told(after(...two, heard({ kind: "refused", sub: 2, status: 404 }))[1])).toEqual([
    [2, { kind: "refused", key: 1, status: 404 }],
  ]);
});
