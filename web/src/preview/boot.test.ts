import { describe, expect, test } from "vitest";
import { afterLook, bootSteps, failedStep, tookMs } from "./boot.ts";

const ticks = (...given: Parameters<typeof bootSteps>) => bootSteps(...given).map((s) => s.tick);

describe("the boot's ticks", () => {
  test("begin with the sandbox itself", () => {
    expect(ticks(null, null, "template")).toEqual(["doing", "pending", "pending", "pending"]);
    expect(ticks({ kind: "restoring" }, { phase: "idle" }, "snapshot")[0]).toBe("doing");
  });

  test("follow the daemon", () => {
    expect(ticks(null, { phase: "cloning" }, "clone")).toEqual(["done", "doing", "pending", "pending"]);
    expect(ticks(null, { phase: "installing" }, "template")).toEqual(["done", "done", "doing", "pending"]);
    expect(ticks(null, { phase: "running" }, "template")).toEqual(["done", "done", "done", "done"]);
  });

  test("show where it failed", () => {
    expect(ticks(null, { phase: "install-failed" }, "clone")[2]).toBe("failed");
    expect(ticks({ kind: "failed" }, null, "clone")[0]).toBe("failed");
    expect(failedStep({ phase: "install-failed" })).toBe("install");
    expect(failedStep({ phase: "needs-credentials" })).toBe("clone");
    expect(failedStep({ phase: "running" })).toBeNull();
    expect(failedStep(null)).toBeNull();
  });

  test("say what each step is", () => {
    const words = (...given: Parameters<typeof bootSteps>) => bootSteps(...given).map((s) => s.label);
    expect(words({ kind: "pulling-image", percent: 40 }, null, "template")[0]).toBe(
      "Fetch the image of sandboxes, 40 %",
    );
    expect(words({ kind: "restoring", bytes: 50, total: 200 }, null, "snapshot").slice(0, 2)).toEqual([
      "Bring the saved work back, 25 %",
      "Check the files",
    ]);
    expect(words({ kind: "waiting-for-store" }, null, "clone").slice(0, 2)).toEqual([
      "Wait for the snapshot store",
      "Clone the repository",
    ]);
  });
});

describe("the times of the steps", () => {
  const at = (phase: string) => bootSteps(null, { phase }, "template");

  test("are those that were seen", () => {
    const first = afterLook({}, at("idle"), 1000);
    const second = afterLook(first, at("installing"), 4000);
    expect(second).toEqual({ provision: 1000, install: 4000 });
    expect(afterLook(second, at("installing"), 5000)).toBe(second);
    const now = at("installing");
    expect(tookMs(second, now, "provision", 9000)).toBe(3000);
    expect(tookMs(second, now, "clone", 9000)).toBeNull();
    expect(tookMs(second, now, "install", 9000)).toBe(5000);
    expect(tookMs(second, now, "start", 9000)).toBeNull();
  });

  test("begin anew with another start", () => {
    expect(afterLook({ provision: 1, install: 2 }, at("idle"), 10)).toEqual({ provision: 10 });
  });
});
