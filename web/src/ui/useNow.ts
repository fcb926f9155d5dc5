import { useSyncExternalStore } from "react";

let now = Date.now();

function subscribe(tell: () => void) {
  const timer = setInterval(() => {
    now = Date.now();
    tell();
  }, 1000);
  return () => clearInterval(timer);
}

/** The present time in milliseconds, once a second. */
export const useNow = () => useSyncExternalStore(subscribe, () => now);
