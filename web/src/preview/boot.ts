import type { Lifecycle, Phase } from "../api/live.ts";

export type Tick = "pending" | "doing" | "done" | "failed";
type StepName = "provision" | "clone" | "install" | "start";
export type Step = { name: StepName; label: string; tick: Tick };

const ORDER: StepName[] = ["provision", "clone", "install", "start"];
const AT: Record<string, StepName> = {
  cloning: "clone",
  "checking-out": "clone",
  "clone-failed": "clone",
  "needs-credentials": "clone",
  installing: "install",
  "install-failed": "install",
  starting: "start",
  crashed: "start",
  "start-failed": "start",
};
const FAILED = new Set(["clone-failed", "install-failed", "start-failed", "needs-credentials"]);

function label(name: StepName, phase: Phase | null, fromClone: boolean): string {
  if (name === "clone") return fromClone ? "Clone the repository" : "Lay out the files";
  if (name === "install") return "Install dependencies";
  if (name === "start") return "Start the dev server";
  if (phase?.kind === "waiting-for-store") return "Waiting for the snapshot store";
  if (phase?.kind === "restoring") {
    const share = phase.total ? Math.min(100, Math.round(((phase.bytes ?? 0) / phase.total) * 100)) : 0;
    return share ? `Restore the workspace, ${share} %` : "Restore the workspace";
  }
  return "Get the sandbox ready";
}

/** The four ticks of a boot, from what the control plane and then the daemon say. */
export function bootSteps(
  phase: Phase | null,
  lifecycle: Lifecycle | null,
  fromClone: boolean,
): Step[] {
  const now = lifecycle?.phase ?? "idle";
  const failedEarly = phase?.kind === "failed";
  const at: StepName = now === "idle" || failedEarly ? "provision" : (AT[now] ?? "start");
  const place = ORDER.indexOf(at);
  return ORDER.map((name, index) => {
    let tick: Tick = index < place || now === "running" ? "done" : "pending";
    if (index === place && now !== "running") {
      tick = failedEarly || FAILED.has(now) ? "failed" : "doing";
    }
    return { name, label: label(name, phase, fromClone), tick };
  });
}

/** The step that failed and can be tried again by itself. */
export function failedStep(lifecycle: Lifecycle | null): "clone" | "install" | "start" | null {
  const now = lifecycle?.phase ?? "";
  if (!FAILED.has(now)) return null;
  return AT[now] as "clone" | "install" | "start";
}

type PreviewState = "stopped" | "booting" | "failed" | "live" | "crashed" | "no-page";

/** What the preview's place shows. `seen`: the page was shown before and is kept over short drops. */
export function previewState(
  sandboxState: string | null,
  lifecycle: Lifecycle | null,
  phase: Phase | null,
  seen: boolean,
): PreviewState {
  const now = lifecycle?.phase;
  if (now === "running") return lifecycle?.htmlSupport === false ? "no-page" : "live";
  if (phase?.kind === "failed" || (now && FAILED.has(now))) return "failed";
  if (sandboxState === "stopped") return "stopped";
  if (now === "crashed") return seen ? "live" : "crashed";
  return "booting";
}
