import { asleep } from "../api/live.ts";
import type { Sandbox } from "../api/types.ts";

const HEALS = 3;
const HEALS_WITHIN_MS = 5 * 60_000;

type Situation = {
  box: Sandbox | null | undefined;
  /** The page looks for the first time, or its stream was lost and is open again; else null. */
  look: "opened" | "reopened" | null;
  /** There was a sandbox at an earlier look. */
  known: boolean;
  /** When this page started it by itself before, in milliseconds. */
  starts: readonly number[];
  now: number;
};

/**
 * Whether the page starts the sandbox by itself: when a person opens the page, and when it ended
 * without anybody wanting that, but not again and again. What was stopped or deleted stays so; what
 * was stopped in a browser also where the page is opened anew, until somebody starts it.
 */
export function startsByItself({ box, look, known, starts, now }: Situation): boolean {
  if (box === undefined || !asleep(box)) return false;
  const { reason, through } = box?.ended ?? {};
  if (look === "opened") return !(reason === "asked" && through === "session");
  const lately = starts.filter((at) => now - at < HEALS_WITHIN_MS);
  if (lately.length >= HEALS) return false;
  if (box === null) return look === "reopened" && !known;
  switch (reason) {
    case "asked":
      return false;
    case "gone":
    case "interrupted":
      return true;
    default:
      // Its last start failed; what was in its way may be gone with the server's.
      return look === "reopened" && box.last_error !== null && lately.length === 0;
  }
}
