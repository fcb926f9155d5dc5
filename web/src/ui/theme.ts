import { keep, kept } from "./kept.ts";

type Theme = "light" | "dark";

function chosenTheme(): Theme | null {
  const chosen = kept("theme");
  return chosen === "light" || chosen === "dark" ? chosen : null;
}

/** What is shown now: the choice, else what the system prefers. */
export function presentTheme(): Theme {
  return chosenTheme() ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
}

/** Show the choice that was made before; without one the page follows the system. */
export function applyChosenTheme() {
  const chosen = chosenTheme();
  if (chosen) document.documentElement.dataset.theme = chosen;
}

export function chooseTheme(theme: Theme) {
  keep("theme", theme);
  document.documentElement.dataset.theme = theme;
}
