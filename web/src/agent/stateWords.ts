import type { Lifecycle } from "../api/live.ts";
import type { Sandbox } from "../api/types.ts";

export type StateTone = "good" | "busy" | "still" | "bad";

const phases: Record<string, [string, StateTone]> = {
  cloning: ["cloning", "busy"],
  "checking-out": ["checking out", "busy"],
  installing: ["installing", "busy"],
  starting: ["starting its server", "busy"],
  crashed: ["its server stopped", "busy"],
  "clone-failed": ["clone failed", "bad"],
  "needs-credentials": ["needs credentials", "bad"],
  "install-failed": ["install failed", "bad"],
  "start-failed": ["server does not start", "bad"],
};
const states: Record<Sandbox["state"], [string, StateTone]> = {
  running: ["running", "good"],
  starting: ["starting", "busy"],
  stopping: ["saving and stopping", "busy"],
  stopped: ["stopped", "still"],
  failed: ["did not start", "bad"],
};

/** How a sandbox is, in a word or three. */
export function stateWords(
  box: Sandbox | null | undefined,
  lifecycle?: Lifecycle | null,
): { text: string; tone: StateTone } {
  if (!box) return { text: "never started", tone: "still" };
  const phase = lifecycle?.phase ?? box.phase ?? "";
  const [text, tone] = (box.state === "running" && phases[phase]) || states[box.state];
  return { text, tone };
}
