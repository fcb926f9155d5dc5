import { expect, test } from "vitest";
import type { Sandbox } from "../api/types.ts";
import { previewState, type Situation } from "./previewState.ts";

const box = (state: Sandbox["state"]) => ({ state }) as Sandbox;
const given: Situation = {
  box: box("running"),
  lifecycle: null,
  phase: null,
  starting: false,
  startFailed: false,
  seen: false,
  hasSource: true,
};
const shown = (said: Partial<Situation>) => previewState({ ...given, ...said });
const running = { phase: "running" };

test("the page shows while the dev server runs", () => {
  expect(shown({ lifecycle: running })).toBe("live");
  expect(shown({ lifecycle: { phase: "running", htmlSupport: false }, seen: true })).toBe("no-page");
});

test("the page stays over short drops", () => {
  expect(shown({ lifecycle: { phase: "crashed" }, seen: true })).toBe("dropped");
  expect(shown({ lifecycle: { phase: "starting" }, seen: true })).toBe("dropped");
  expect(shown({ lifecycle: null, seen: true })).toBe("dropped");
  expect(shown({ lifecycle: { phase: "crashed" } })).toBe("crashed");
});

test("a page that is not served any more is not shown", () => {
  expect(shown({ box: box("stopped"), lifecycle: running, seen: true })).toBe("stopped");
  expect(shown({ box: box("stopping"), lifecycle: running, seen: true })).toBe("stopping");
  expect(shown({ box: box("failed"), seen: true })).toBe("not-started");
});

test("a boot is told from a failure and from rest", () => {
  expect(shown({ box: undefined })).toBe("opening");
  expect(shown({ box: null })).toBe("stopped");
  expect(shown({ box: null, starting: true })).toBe("booting");
  expect(shown({ box: box("starting"), phase: { kind: "restoring" } })).toBe("booting");
  expect(shown({ lifecycle: { phase: "installing" } })).toBe("booting");
  expect(shown({ lifecycle: { phase: "install-failed" }, seen: true })).toBe("step-failed");
  expect(shown({ box: box("stopped"), startFailed: true })).toBe("not-started");
  expect(shown({ box: box("stopped"), phase: { kind: "failed" } })).toBe("not-started");
});

test("a failed phase of an earlier start does not hide the one that came up", () => {
  expect(shown({ phase: { kind: "failed" }, lifecycle: running })).toBe("live");
});

test("a sandbox without a source has nothing to show", () => {
  expect(shown({ hasSource: false, lifecycle: { phase: "idle" } })).toBe("blank");
  expect(shown({ hasSource: false, lifecycle: running })).toBe("live");
});
