import { useState } from "react";
import { chooseTheme, presentTheme } from "../theme.ts";

export function ThemeSwitch() {
  const [theme, setTheme] = useState(presentTheme);
  const other = theme === "dark" ? "light" : "dark";

  function change() {
    chooseTheme(other);
    setTheme(other);
  }

  return (
    <button
      type="button"
      onClick={change}
      aria-label={`Switch to ${other}`}
      className="grid size-10 place-items-center rounded-full text-muted transition-colors hover:bg-raised hover:text-ink"
    >
      <svg viewBox="0 0 20 20" className="size-5" fill="none" stroke="currentColor" strokeWidth="1.6" aria-hidden="true">
        <circle cx="10" cy="10" r="6.2" />
        <path d="M10 3.8a6.2 6.2 0 0 1 0 12.4z" fill="currentColor" stroke="none" />
      </svg>
    </button>
  );
}
