import { useState } from "react";
import { Button } from "./Button.tsx";
import { Icon } from "./Icon.tsx";
import { chooseTheme, presentTheme } from "./theme.ts";

export function ThemeButton() {
  const [theme, setTheme] = useState(presentTheme);
  const other = theme === "dark" ? "light" : "dark";
  return (
    <Button
      look="quiet"
      className="w-9 px-0"
      aria-label={`Switch to ${other}`}
      title={`Switch to ${other}`}
      onClick={() => {
        chooseTheme(other);
        setTheme(other);
      }}
    >
      <Icon name={theme === "dark" ? "sun" : "moon"} />
    </Button>
  );
}
