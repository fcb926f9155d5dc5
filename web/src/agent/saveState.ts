import type { Sandbox } from "../api/types.ts";
import { ago } from "../ui/time.ts";

type SaveWords = { text: string; tone: "calm" | "busy" | "bad" };

/** Where the work stands, in a few words. */
export function saveWords(box: Sandbox | null | undefined, now: number): SaveWords {
  if (!box) return { text: "", tone: "calm" };
  if (box.saving) return { text: "Saving…", tone: "busy" };
  if (box.last_save_error) {
    return { text: `Not saved: ${box.last_save_error.message}`, tone: "bad" };
  }
  const last = box.last_save ? ago(box.last_save.created_at, now) : null;
  if (box.unsaved) {
    return { text: last ? `Unsaved work, saved ${last}` : "Not saved yet", tone: "busy" };
  }
  if (!last) return { text: "Nothing to save yet", tone: "calm" };
  return { text: `Saved ${last}`, tone: "calm" };
}
