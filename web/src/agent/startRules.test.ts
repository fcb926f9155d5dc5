import { expect, test } from "vitest";
import type { Sandbox } from "../api/types.ts";
import { startsByItself } from "./startRules.ts";

type Reason = NonNullable<Sandbox["ended"]>["reason"];
const box = (said: Partial<Sandbox>) => ({ last_error: null, ended: null, ...said }) as Sandbox;
const ended = (reason: Reason) =>
  box({ state: "stopped", ended: { reason, at: "2026-01-01T00:00:00Z", by: null, through: null } });
const failed = box({ state: "failed", last_error: { code: "x", message: "", hint: "" } });
const given = { look: null, known: true, starts: [], now: 1_000_000 } as const;

test("opening the page does not undo a stop in a browser, but one by a program", () => {
  const stopped = (through: "session" | "api-key") =>
    box({
      state: "stopped",
      ended: { reason: "asked", at: "2026-01-01T00:00:00Z", by: "owner", through },
    });
  expect(startsByItself({ ...given, box: stopped("session"), look: "opened" })).toBe(false);
  expect(startsByItself({ ...given, box: stopped("api-key"), look: "opened" })).toBe(true);
});

test("opening the page starts the sandbox, however else it ended", () => {
  for (const one of [null, ended("asked"), ended("gone"), ended("interrupted"), failed]) {
    expect(startsByItself({ ...given, box: one, look: "opened" })).toBe(true);
  }
  expect(startsByItself({ ...given, box: undefined, look: "opened" })).toBe(false);
  expect(startsByItself({ ...given, box: box({ state: "running" }), look: "opened" })).toBe(false);
});

test("what was stopped on purpose stays stopped, also when the stream is open again", () => {
  expect(startsByItself({ ...given, box: ended("asked") })).toBe(false);
  expect(startsByItself({ ...given, box: ended("asked"), look: "reopened" })).toBe(false);
});

test("what was deleted stays so; what never was is started", () => {
  expect(startsByItself({ ...given, box: null })).toBe(false);
  expect(startsByItself({ ...given, box: null, look: "reopened" })).toBe(false);
  expect(startsByItself({ ...given, box: null, look: "reopened", known: false })).toBe(true);
});

test("a sandbox that ended by itself, or in its start, is started again, a few times", () => {
  for (const one of [ended("gone"), ended("interrupted")]) {
    expect(startsByItself({ ...given, box: one })).toBe(true);
    expect(startsByItself({ ...given, box: one, look: "reopened" })).toBe(true);
    expect(startsByItself({ ...given, box: one, starts: [999_000, 999_500, 999_900] })).toBe(false);
    expect(startsByItself({ ...given, box: one, starts: [1, 2, 3] })).toBe(true);
  }
});

test("a start that failed is tried once more when the server is back", () => {
  expect(startsByItself({ ...given, box: failed })).toBe(false);
  expect(startsByItself({ ...given, box: failed, look: "reopened" })).toBe(true);
  expect(startsByItself({ ...given, box: failed, look: "reopened", starts: [999_000] })).toBe(false);
});
