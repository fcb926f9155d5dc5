import { useSyncExternalStore } from "react";
import { keep, kept } from "./kept.ts";

type Theme = "light" | "dark";

const listeners = new Set<() => void>();

function chosenTheme(): Theme | null {
  const chosen = kept("theme");
  return chosen === "light" || chosen === "dark" ? chosen : null;
}

/** What is shown now: the choice, else what the system prefers. */
const presentTheme = (): Theme =>
  chosenTheme() ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");

/** Show the choice that was made before; without one the page follows the system. */
export function applyChosenTheme() {
  const chosen = chosenTheme();
  if (chosen) document.documentElement.dataset.theme = chosen;
}

export function chooseTheme(theme: Theme) {
  keep("theme", theme);
  document.documentElement.dataset.theme = theme;
  for (const tell of listeners) tell();
}

function subscribe(tell: () => void) {
  listeners.add(tell);
  return () => listeners.delete(tell);
}

/** The theme that is shown, and the one that it can be switched to. */
export function useTheme(): { theme: Theme; other: Theme } {
  const theme = useSyncExternalStore(subscribe, presentTheme);
  return { theme, other: theme === "dark" ? "light" : "dark" };
}
