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

/** Where the files come from, for the words of the second step. */
export type Source = "template" | "clone" | "snapshot";

const clones: Record<Source, string> = {
  template: "Lay out the files",
  clone: "Clone the repository",
  snapshot: "Check the files",
};

function label(name: StepName, phase: Phase | null, source: Source): string {
  if (name === "clone") return clones[source];
  if (name === "install") return "Install dependencies";
  if (name === "start") return "Start the dev server";
  if (phase?.kind === "waiting-for-store") return "Wait for the snapshot store";
  if (phase?.kind === "restoring") {
    const share = phase.total ? Math.min(100, Math.round(((phase.bytes ?? 0) / phase.total) * 100)) : 0;
    return share ? `Bring the saved work back, ${share} %` : "Bring the saved work back";
  }
  if (phase?.kind === "pulling-image") return `Fetch the image of sandboxes, ${phase.percent ?? 0} %`;
  return "Get the sandbox ready";
}

/** The four ticks of a boot, from what the control plane and then the daemon say. */
export function bootSteps(phase: Phase | null, lifecycle: Lifecycle | null, source: Source): Step[] {
  const now = lifecycle?.phase ?? "idle";
  const failedEarly = phase?.kind === "failed";
  const at: StepName = now === "idle" || failedEarly ? "provision" : (AT[now] ?? "start");
  const place = ORDER.indexOf(at);
  return ORDER.map((name, index) => {
    let tick: Tick = index < place || now === "running" ? "done" : "pending";
    if (index === place && now !== "running") {
      tick = failedEarly || FAILED.has(now) ? "failed" : "doing";
    }
    return { name, label: label(name, phase, source), tick };
  });
}

/** When each step was first seen under way, in milliseconds. */
export type StepTimes = Partial<Record<StepName, number>>;

/** The times with the step that goes on now; a step seen again after later ones begins them anew. */
export function afterLook(times: StepTimes, steps: Step[], now: number): StepTimes {
  const at = steps.findIndex(({ tick }) => tick === "doing");
  const step = steps[at];
  if (!step) return times;
  const begunLater = steps.slice(at + 1).some(({ name }) => times[name] !== undefined);
  if (begunLater) return { [step.name]: now };
  return times[step.name] === undefined ? { ...times, [step.name]: now } : times;
}

/** How long a step took, or has taken so far; null where its beginning or end was not seen. */
export function tookMs(times: StepTimes, steps: Step[], name: StepName, now: number): number | null {
  const index = steps.findIndex((step) => step.name === name);
  const began = times[name];
  if (began === undefined) return null;
  if (steps[index]?.tick === "doing") return Math.max(0, now - began);
  const next = steps.slice(index + 1).find((step) => times[step.name] !== undefined);
  const ended = next && times[next.name];
  return ended === undefined ? null : ended - began;
}

export type RetryStep = "clone" | "install" | "start";

/** The step that failed and can be tried again by itself. */
export function failedStep(lifecycle: Lifecycle | null): RetryStep | null {
  const now = lifecycle?.phase ?? "";
  return FAILED.has(now) ? (AT[now] as RetryStep) : null;
}
