import { asleep } from "../api/live.ts";
import type { Sandbox } from "../api/types.ts";
import { keep, kept } from "../ui/kept.ts";

/** Whether the user stopped it in this browser; it is then not started by itself. */
export const wasStopped = (agentId: string) => kept(`stopped-${agentId}`) === "1";
export const rememberStopped = (agentId: string, stopped: boolean) =>
  keep(`stopped-${agentId}`, stopped ? "1" : null);

const HEALS = 3;
const HEALS_WITHIN_MS = 5 * 60_000;

type Situation = {
  box: Sandbox | null | undefined;
  stoppedByUser: boolean;
  /** The stream was opened again since the last start by itself, or the page has just opened. */
  freshLook: boolean;
  /** When this page started it by itself before, in milliseconds. */
  starts: readonly number[];
  now: number;
};

/**
 * Whether the page starts the sandbox by itself: when it is opened, when the server is back, and
 * when the sandbox ended without anybody wanting that, but not again and again.
 */
export function startsByItself({ box, stoppedByUser, freshLook, starts, now }: Situation): boolean {
  if (stoppedByUser || box === undefined || !asleep(box)) return false;
  const lately = starts.filter((at) => now - at < HEALS_WITHIN_MS);
  if (lately.length >= HEALS) return false;
  if (box?.state === "failed") return freshLook && lately.length === 0;
  return freshLook || box?.last_error?.code === "sandbox_gone";
}
