import { expect, test } from "vitest";
import {
  afterEvent,
  afterEvents,
  afterOpening,
  type Live,
  MAX_LOG_CHARACTERS,
  nothingYet,
  sandboxAmong,
} from "./live.ts";

const log = (source: string, data: string) => ({ event: "log", data: JSON.stringify({ source, data }) });

test("logs grow by source and are bounded", () => {
  const live = afterEvents(nothingYet, [
    log("setup", "a"),
    log("setup", "b"),
    log("dev", "x".repeat(MAX_LOG_CHARACTERS + 5)),
  ]);
  expect(live.logs.setup).toBe("ab");
  expect(live.logs.dev).toHaveLength(MAX_LOG_CHARACTERS);
});

test("a stream that resumes keeps what was told, one that begins anew does not", () => {
  const known: Live = {
    ...nothingYet,
    lifecycle: { phase: "running" },
    logs: { dev: "ready", page: "an error" },
  };
  expect(afterOpening(known, true).logs.dev).toBe("ready");
  const anew = afterOpening(known, false);
  expect(anew.logs).toEqual({ page: "an error" });
  // The preview stays up while the stream says it all again.
  expect(anew.lifecycle?.phase).toBe("running");
  expect(afterEvent(known, "resync", {}).logs).toEqual({ page: "an error" });
});

test("what a daemon said is forgotten when nothing runs any more", () => {
  const live = afterEvent(nothingYet, "lifecycle", { state: { phase: "installing" } });
  expect(live.lifecycle?.phase).toBe("installing");
  expect(afterEvent(live, "gone", {}).lifecycle).toBeNull();
  expect(afterEvent(live, "sandbox", { state: "stopped" }).lifecycle).toBeNull();
  expect(afterEvent(live, "sandbox", { state: "running" }).lifecycle?.phase).toBe("installing");
});

test("each dev server that comes up reloads the preview", () => {
  expect(afterEvent(nothingYet, "reload", {}).reloads).toBe(1);
});

test("what is not known or makes no sense changes nothing", () => {
  expect(afterEvent(nothingYet, "branch", { meta: {} })).toBe(nothingYet);
  expect(afterEvents(nothingYet, [{ event: "branch", data: "{" }])).toBe(nothingYet);
});

test("the newest word on the sandbox counts", () => {
  const told = ["starting", "running"].map((state) => ({
    event: "sandbox",
    data: JSON.stringify({ state }),
  }));
  expect(sandboxAmong(told)?.state).toBe("running");
  expect(sandboxAmong([])).toBeUndefined();
});
