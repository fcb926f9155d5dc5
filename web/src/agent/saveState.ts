import type { Sandbox } from "../api/types.ts";
import { ago } from "../ui/time.ts";

/** Where the work is: at home in a snapshot, out and about, on its way, aside, or held up. */
export type Whereabouts = "none" | "home" | "roaming" | "saving" | "aside" | "failed";

type SaveWords = { text: string; where: Whereabouts; detail: string };

/** Where the work stands, in a few words. */
export function saveWords(box: Sandbox | null | undefined, now: number): SaveWords {
  if (!box) return { text: "", where: "none", detail: "" };
  if (box.saving) return { text: "Saving…", where: "saving", detail: "A snapshot is being made." };
  const last = box.last_save ? ago(box.last_save.created_at, now) : null;
  const lastTime = last ? `The last snapshot was made ${last}.` : "There is no snapshot yet.";
  if (box.last_save_error) {
    const { message, hint } = box.last_save_error;
    return {
      text: `Not saved: ${message}`,
      where: "failed",
      detail: [message, hint, lastTime, "It is tried again by itself."].filter(Boolean).join(" "),
    };
  }
  if (box.detached) {
    return {
      text: box.unsaved ? "Unsaved work, kept aside" : "Saved aside",
      where: "aside",
      detail: "This sandbox runs without its saved work, so what it saves is kept aside.",
    };
  }
  if (box.unsaved) {
    return {
      text: "Unsaved work",
      where: "roaming",
      detail: `${lastTime} The next one comes by itself, once things are quiet for a minute.`,
    };
  }
  if (!last) return { text: "Nothing to save yet", where: "none", detail: lastTime };
  return { text: `Saved ${last}`, where: "home", detail: "Everything is in the newest snapshot." };
}
