export type Theme = "light" | "dark";

const KEY = "theme";

/** What was chosen before. Null without a choice, and where the browser keeps nothing for us. */
function chosenTheme(): Theme | null {
  try {
    const chosen = localStorage.getItem(KEY);
    return chosen === "light" || chosen === "dark" ? chosen : null;
  } catch {
    return null; // blocked storage, as in an embedded page
  }
}

function systemTheme(): Theme {
  return globalThis.matchMedia?.("(prefers-color-scheme: dark)").matches ? "dark" : "light";
}

/** What is shown now: the choice, else what the system prefers. */
export function presentTheme(): Theme {
  return chosenTheme() ?? systemTheme();
}

/** Show the choice that was made before, if there is one. */
export function applyChosenTheme() {
  const chosen = chosenTheme();
  if (chosen) document.documentElement.dataset.theme = chosen;
}

export function chooseTheme(theme: Theme) {
  document.documentElement.dataset.theme = theme;
  try {
    localStorage.setItem(KEY, theme);
  } catch {
    // It holds until the page is left.
  }
}
