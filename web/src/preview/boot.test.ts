import { describe, expect, test } from "vitest";
import { bootSteps, failedStep, previewState } from "./boot.ts";

const ticks = (...given: Parameters<typeof bootSteps>) => bootSteps(...given).map((s) => s.tick);

describe("the boot's ticks", () => {
  test("begin with the sandbox itself", () => {
    expect(ticks(null, null, false)).toEqual(["doing", "pending", "pending", "pending"]);
    expect(ticks({ kind: "restoring" }, { phase: "idle" }, true)[0]).toBe("doing");
  });

  test("follow the daemon", () => {
    expect(ticks(null, { phase: "cloning" }, true)).toEqual(["done", "doing", "pending", "pending"]);
    expect(ticks(null, { phase: "installing" }, false)).toEqual(["done", "done", "doing", "pending"]);
    expect(ticks(null, { phase: "running" }, false)).toEqual(["done", "done", "done", "done"]);
  });

  test("show where it failed", () => {
    expect(ticks(null, { phase: "install-failed" }, false)[2]).toBe("failed");
    expect(ticks({ kind: "failed" }, null, false)[0]).toBe("failed");
    expect(failedStep({ phase: "install-failed" })).toBe("install");
    expect(failedStep({ phase: "running" })).toBeNull();
  });

  test("tell how far a restore is", () => {
    const [first] = bootSteps({ kind: "restoring", bytes: 50, total: 200 }, null, false);
    expect(first?.label).toContain("25 %");
  });
});

describe("the preview", () => {
  test("shows the page while the dev server runs", () => {
    expect(previewState("running", { phase: "running" }, null, false)).toBe("live");
    expect(previewState("running", { phase: "running", htmlSupport: false }, null, true)).toBe("no-page");
  });

  test("keeps the page over a short drop", () => {
    expect(previewState("running", { phase: "crashed" }, null, true)).toBe("live");
    expect(previewState("running", { phase: "crashed" }, null, false)).toBe("crashed");
  });

  test("says that it is stopped, booting or failed", () => {
    expect(previewState("stopped", null, null, true)).toBe("stopped");
    expect(previewState("starting", null, null, false)).toBe("booting");
    expect(previewState("running", { phase: "start-failed" }, null, false)).toBe("failed");
  });
});
