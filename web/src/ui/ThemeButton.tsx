import { Button } from "./Button.tsx";
import { switchTheme } from "./theme.ts";

export function ThemeButton() {
  return (
    <Button look="quiet" aria-label="Switch between light and dark" className="px-2" onClick={switchTheme}>
      <svg viewBox="0 0 20 20" className="size-4.5" fill="none" stroke="currentColor" strokeWidth="1.6" aria-hidden="true">
        <circle cx="10" cy="10" r="6.2" />
        <path d="M10 3.800a6.200 6.200 0 0 1 0 12.400z" fill="currentColor" stroke="none" />
      </svg>
    </Button>
  );
}
