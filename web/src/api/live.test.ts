import { expect, test } from "vitest";
import { afterEvent, MAX_LOG_CHARACTERS, nothingYet } from "./live.ts";

test("logs grow by source and are bounded", () => {
  let live = afterEvent(nothingYet, "log", { source: "setup", data: "a" });
  live = afterEvent(live, "log", { source: "setup", data: "b" });
  live = afterEvent(live, "log", { source: "dev", data: "x".repeat(MAX_LOG_CHARACTERS + 5) });
  expect(live.logs.setup).toBe("ab");
  expect(live.logs.dev).toHaveLength(MAX_LOG_CHARACTERS);
});

test("the daemon's phase is kept until it is gone", () => {
  const live = afterEvent(nothingYet, "lifecycle", { state: { phase: "installing" } });
  expect(live.lifecycle?.phase).toBe("installing");
  expect(afterEvent(live, "gone", {}).lifecycle).toBeNull();
});

test("each dev server that comes up reloads the preview", () => {
  expect(afterEvent(nothingYet, "reload", {}).reloads).toBe(1);
});

test("an unknown event changes nothing", () => {
  expect(afterEvent(nothingYet, "branch", { meta: {} })).toBe(nothingYet);
});
