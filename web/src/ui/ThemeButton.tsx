import { Button } from "./Button.tsx";
import { Icon } from "./Icon.tsx";
import { chooseTheme, useTheme } from "./theme.ts";

export function ThemeButton() {
  const { theme, other } = useTheme();
  return (
    <Button
      look="quiet"
      className="w-9 px-0"
      aria-label={`Switch to ${other}`}
      title={`Switch to ${other}`}
      onClick={() => chooseTheme(other)}
    >
      <Icon name={theme === "dark" ? "sun" : "moon"} />
    </Button>
  );
}
