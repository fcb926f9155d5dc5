import { useSyncExternalStore } from "react";

const WIDE = "(min-width: 64rem)";

function subscribe(tell: () => void) {
  const query = matchMedia(WIDE);
  query.addEventListener("change", tell);
  return () => query.removeEventListener("change", tell);
}

/** Whether there is room for two things side by side. */
export const useWide = () => useSyncExternalStore(subscribe, () => matchMedia(WIDE).matches);
