import { useSyncExternalStore } from "react";

const SECOND_MS = 1000;

function subscribe(tell: () => void) {
  const timer = setInterval(tell, SECOND_MS);
  return () => clearInterval(timer);
}

/** The present time in milliseconds, in whole seconds: another one each second. */
export const useNow = () =>
  useSyncExternalStore(subscribe, () => Math.floor(Date.now() / SECOND_MS) * SECOND_MS);
