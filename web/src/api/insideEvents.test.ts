import { expect, test } from "vitest";
import { isOld, touchedBy } from "./insideEvents.ts";

const event = (name: string, data: unknown) => ({ event: name, data: JSON.stringify(data) });
const quiet = { paths: [], git: false, terminals: false };

test("events say what changed, and a stream that begins anew says everything", () => {
  expect(
    touchedBy([event("file-changed", { path: "src/a" }), event("branch", {}), event("log", {}), event("tasks", {})]),
  ).toEqual({ paths: ["src/a"], git: true, terminals: true });
  expect(touchedBy([event("file-changed", { path: "a" }), event("resync", {})])).toBe("everything");
  expect(touchedBy([event("log", {})])).toEqual(quiet);
});

test.each([
  [["list", "src"], ["src/a"], true],
  [["list", "src"], ["src"], true],
  [["list", "."], ["a"], true],
  [["list", "."], ["src/a"], false],
  [["list", "deep"], ["."], true],
  [["file", "src/a"], ["src/a"], true],
  [["file", "src/a"], ["src"], true],
  [["file", "src/ab"], ["src/a"], false],
  [["git", "status"], ["x"], true],
  [["names"], ["x"], true],
  [["grep", {}], ["x"], true],
  [["grep", {}], [], false],
  [["terminals"], ["x"], false],
])("%j after a change of %j: %s", (key, paths, old) => {
  expect(isOld(["inside", "h", ...key], { ...quiet, paths })).toBe(old);
});

test("a branch's news are git's alone, and tasks' the terminals'", () => {
  expect(isOld(["inside", "h", "list", "."], { ...quiet, git: true })).toBe(false);
  expect(isOld(["inside", "h", "git", "log"], { ...quiet, git: true })).toBe(true);
  expect(isOld(["inside", "h", "terminals"], { ...quiet, terminals: true })).toBe(true);
});
