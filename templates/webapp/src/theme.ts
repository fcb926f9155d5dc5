export type Theme = "light" | "dark";

const KEY = "theme";

/** The browser's storage, or nothing where it is not allowed (some block it in embedded pages). */
function storage(): Storage | null {
  try {
    return globalThis.localStorage;
  } catch {
    return null;
  }
}

/** What was chosen before, else what the system prefers. */
export function preferredTheme(): Theme {
  const chosen = storage()?.getItem(KEY);
  if (chosen === "light" || chosen === "dark") return chosen;
  return globalThis.matchMedia?.("(prefers-color-scheme: dark)").matches ? "dark" : "light";
}

export function applyTheme(theme: Theme) {
  document.documentElement.dataset.theme = theme;
}

export function chooseTheme(theme: Theme) {
  storage()?.setItem(KEY, theme);
  applyTheme(theme);
}
