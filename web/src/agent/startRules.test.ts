import { expect, test } from "vitest";
import type { Sandbox } from "../api/types.ts";
import { startsByItself } from "./startRules.ts";

const box = (said: Partial<Sandbox>) => ({ last_error: null, ...said }) as Sandbox;
const stopped = box({ state: "stopped" });
const gone = box({ state: "stopped", last_error: { code: "sandbox_gone", message: "", hint: "" } });
const given = { stoppedByUser: false, freshLook: false, starts: [], now: 1_000_000 };

test("opening the page starts the sandbox", () => {
  expect(startsByItself({ ...given, box: null, freshLook: true })).toBe(true);
  expect(startsByItself({ ...given, box: stopped, freshLook: true })).toBe(true);
  expect(startsByItself({ ...given, box: undefined, freshLook: true })).toBe(false);
  expect(startsByItself({ ...given, box: box({ state: "running" }), freshLook: true })).toBe(false);
});

test("what the user stopped stays stopped", () => {
  expect(startsByItself({ ...given, box: stopped, freshLook: true, stoppedByUser: true })).toBe(false);
  expect(startsByItself({ ...given, box: gone, stoppedByUser: true })).toBe(false);
});

test("a sandbox that somebody else stopped meanwhile is left alone", () => {
  expect(startsByItself({ ...given, box: stopped })).toBe(false);
});

test("a sandbox that was killed is started again, a few times", () => {
  expect(startsByItself({ ...given, box: gone })).toBe(true);
  expect(startsByItself({ ...given, box: gone, starts: [999_000, 999_500, 999_900] })).toBe(false);
  expect(startsByItself({ ...given, box: gone, starts: [1, 2, 3] })).toBe(true);
});

test("a start that failed is tried once", () => {
  const failed = box({ state: "failed" });
  expect(startsByItself({ ...given, box: failed, freshLook: true })).toBe(true);
  expect(startsByItself({ ...given, box: failed, freshLook: true, starts: [999_000] })).toBe(false);
});
