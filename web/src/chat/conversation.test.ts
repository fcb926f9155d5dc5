import { expect, test } from "vitest";
import type { ThreadEvent } from "../api/threadTypes.ts";
import { afterTold, MAX_OUTPUT_CHARACTERS, nothingSaid, type Turn } from "./conversation.ts";

/** The conversation after these events, of run r1 unless they say another. */
function told(...events: (ThreadEvent & { of?: string })[]) {
  return afterTold(
    nothingSaid,
    events.map(({ of = "r1", ...event }, index) => [
      "event",
      { seq: index + 1, run: event.kind === "user_message" ? null : of, at: `2026-01-01T00:00:0${index % 10}Z`, event },
    ]),
  );
}
const said = (id: string, queued = false): ThreadEvent => ({
  kind: "user_message",
  id,
  text: `do ${id}`,
  author: "ada",
  queued,
});
const started = (run: string, message: string): ThreadEvent => ({
  kind: "run_started",
  run,
  message,
  harness: "decopilot",
  model: "m",
});
const finished = (run: string, how: "done" | "stopped"): ThreadEvent => ({
  kind: "run_finished",
  run,
  how,
  error: null,
});
const states = (turns: Turn[]) => turns.map(({ key, state }) => `${key} ${state}`);

test("pieces of one part are one text, whatever comes between them", () => {
  const { turns } = told(
    said("m1"),
    started("r1", "m1"),
    { kind: "thinking", part: "p1", delta: "Hm" },
    { kind: "text", part: "p1", delta: "On it" },
    { kind: "thinking", part: "p1", delta: "…" },
    { kind: "text", part: "p1", delta: "." },
    { kind: "text", part: "p2", delta: "Done." },
  );
  expect(turns[0]?.items.map((item) => item.kind !== "tool" && `${item.kind} ${item.text}`)).toEqual([
    "thinking Hm…",
    "text On it.",
    "text Done.",
  ]);
});

test("a tool runs, prints, and ends with what it changed", () => {
  const begun = [
    said("m1"),
    started("r1", "m1"),
    { kind: "tool_started", call: "c1", name: "bash", input: {}, title: "npm test" },
    { kind: "tool_output", call: "c1", delta: "a" },
    { kind: "tool_output", call: "c1", delta: "b" },
  ] satisfies ThreadEvent[];
  expect(told(...begun).turns[0]?.items[0]).toMatchObject({ output: "ab", result: null });
  const done = told(...begun, { kind: "tool_finished", call: "c1", ok: true, output: "ab", diff: null });
  expect(done.turns[0]?.items[0]).toMatchObject({ result: { ok: true, output: "ab" } });
  // A server that died says no more of the tool; the turn's end is its end.
  expect(told(...begun, finished("r1", "stopped")).turns[0]?.items[0]).toMatchObject({
    result: { ok: false },
  });
});

test("what a command prints is kept up to a bound, its end", () => {
  const { turns } = told(
    said("m1"),
    started("r1", "m1"),
    { kind: "tool_started", call: "c1", name: "bash", input: {}, title: "yes" },
    { kind: "tool_output", call: "c1", delta: "y".repeat(MAX_OUTPUT_CHARACTERS) },
    { kind: "tool_output", call: "c1", delta: "end" },
  );
  const [call] = turns[0]?.items ?? [];
  expect(call?.kind === "tool" && call.output.length).toBe(MAX_OUTPUT_CHARACTERS);
  expect(call?.kind === "tool" && call.output.endsWith("end")).toBe(true);
});

test("a message waits while a run goes on, and is taken up after it", () => {
  const waiting = [said("m1"), started("r1", "m1"), said("m2", true)] as const;
  expect(states(told(...waiting).turns)).toEqual(["m1 running", "m2 queued"]);
  expect(states(told(...waiting, finished("r1", "done"), started("r2", "m2")).turns)).toEqual([
    "m1 done",
    "m2 running",
  ]);
});

test("stopping takes back what waits, in its order", () => {
  const { turns } = told(
    said("m1"),
    started("r1", "m1"),
    said("m2", true),
    said("m3", true),
    finished("r2", "stopped"),
    finished("r3", "stopped"),
    finished("r1", "stopped"),
  );
  expect(states(turns)).toEqual(["m1 stopped", "m2 stopped", "m3 stopped"]);
  expect(turns.map(({ run }) => run)).toEqual(["r1", null, null]);
});

test("what came twice counts once: a stream that resumes, a tab that comes back", () => {
  const once = told(said("m1"), started("r1", "m1"), { kind: "text", part: "p", delta: "Hi" });
  const event = { kind: "text", part: "p", delta: "Hi" };
  const again = afterTold(once, [["event", { seq: 3, run: "r1", at: "", event }]]);
  expect(again).toBe(once);
  const jumped = afterTold(once, [["event", { seq: 9, run: "r1", at: "", event }]]);
  expect(jumped.seq).toBe(9);
  expect(jumped.turns[0]?.items[0]).toMatchObject({ text: "HiHi" });
});

test("checkpoints, usage and the end are the run's", () => {
  const usage = { requests: 2, input_tokens: 10, output_tokens: 5, cache_read_tokens: 0, cost_usd: 0.01 };
  const { turns } = told(
    said("m1"),
    started("r1", "m1"),
    { kind: "checkpoint", run: "r1", when: "before", snapshot: "s1", commit: null },
    { kind: "usage", ...usage },
    { kind: "checkpoint", run: "r1", when: "after", snapshot: "s2", commit: null },
    { kind: "run_finished", run: "r1", how: "capped", error: "It took 30 min" },
  );
  expect(turns[0]).toMatchObject({ before: "s1", after: "s2", usage, state: "capped", error: "It took 30 min" });
});

test("what is not known or makes no sense changes nothing that is shown", () => {
  const before = told(said("m1"), started("r1", "m1"));
  const kept = { seq: 7, run: "r1", at: "", event: { kind: "state_kept", state: {} } };
  const after = afterTold(before, [
    ["event", kept],
    ["event", { seq: 8, run: "elsewhere", at: "", event: { kind: "text", part: "p", delta: "x" } }],
    ["event", null],
    ["keepalive", {}],
    ["thread", "no object"],
  ]);
  expect(after.turns).toBe(before.turns);
  expect(after.seq).toBe(8);
});

test("turns that nothing happened to stay the same objects", () => {
  const before = told(said("m1"), started("r1", "m1"), finished("r1", "done"), said("m2"), started("r2", "m2"));
  const after = afterTold(before, [
    ["event", { seq: 6, run: "r2", at: "", event: { kind: "text", part: "p", delta: "x" } }],
  ]);
  expect(after.turns[0]).toBe(before.turns[0]);
  expect(after.turns[1]).not.toBe(before.turns[1]);
});

test("a thread that is gone, and one that has told all there was", () => {
  expect(afterTold(nothingSaid, [["caught_up", { seq: 0 }]]).caughtUp).toBe(true);
  expect(afterTold(nothingSaid, [["gone", {}]]).gone).toBe(true);
});
