import type { Sandbox } from "../api/types.ts";
import { ago } from "../ui/time.ts";

/** Why a sandbox does not run any more, in a sentence; nothing where there is none to tell. */
export function endWords(box: Sandbox | null | undefined, now: number): string | null {
  if (!box?.ended) return null;
  const when = ago(box.ended.at, now);
  switch (box.ended.reason) {
    case "gone":
      return `It ended by itself, noticed ${when}: it was killed, evicted, or its machine went down.`;
    case "interrupted":
      return `The server ended while it was starting, ${when}.`;
    case "asked":
      return `Stopped ${when}${ways[box.ended.through ?? "unknown"]}.`;
  }
}

const ways = {
  session: " in a browser",
  "api-key": " by a program or from the command line",
  unknown: "",
};
