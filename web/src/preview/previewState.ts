import { asleep, type Lifecycle, type Phase } from "../api/live.ts";
import type { Sandbox } from "../api/types.ts";
import { failedStep } from "./boot.ts";

export type PreviewState =
  | "opening"
  | "stopped"
  | "stopping"
  | "not-started"
  | "booting"
  | "step-failed"
  | "crashed"
  | "blank"
  | "no-page"
  | "live"
  | "dropped";

export type Situation = {
  box: Sandbox | null | undefined;
  lifecycle: Lifecycle | null;
  phase: Phase | null;
  /** A start was asked for and has not been answered. */
  starting: boolean;
  /** The start that was asked for last failed. */
  startFailed: boolean;
  /** The page was shown since this start. */
  seen: boolean;
  /** The agent has files of its own to show. */
  hasSource: boolean;
};

/** What the preview's place shows; the first that fits. */
export function previewState(now: Situation): PreviewState {
  const { box, lifecycle, phase, seen } = now;
  if (box === undefined) return "opening";
  if (box?.state === "stopping") return "stopping";
  if (now.starting && asleep(box)) return "booting";
  if (asleep(box)) {
    return now.startFailed || box?.state === "failed" || phase?.kind === "failed"
      ? "not-started"
      : "stopped";
  }
  if (failedStep(lifecycle)) return "step-failed";
  if (lifecycle?.phase === "running") return lifecycle.htmlSupport === false ? "no-page" : "live";
  if (seen) return "dropped";
  if (lifecycle?.phase === "crashed") return "crashed";
  if (box?.state === "running" && !now.hasSource && (lifecycle?.phase ?? "idle") === "idle") {
    return "blank";
  }
  return "booting";
}
