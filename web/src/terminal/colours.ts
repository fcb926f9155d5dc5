/** The page's colours for xterm.js, which draws with no style sheet. */
import type { ITheme } from "@xterm/xterm";

/** What a colour of the page is at present, light or dark. */
function present(probe: HTMLElement, colour: string): string {
  probe.style.color = colour;
  return getComputedStyle(probe).color;
}

export function coloursOf(place: HTMLElement): ITheme {
  const probe = document.createElement("span");
  probe.hidden = true;
  place.append(probe);
  const of = (name: string) => present(probe, `var(--${name})`);
  const theme: ITheme = {
    background: of("raised"),
    foreground: of("ink"),
    cursor: of("ink"),
    cursorAccent: of("raised"),
    selectionBackground: present(probe, "light-dark(#0d5c6340, #72c9c640)"),
    black: present(probe, "light-dark(#17221f, #3b4b4e)"),
    red: of("bad"),
    green: of("good"),
    yellow: of("shell"),
    blue: present(probe, "light-dark(#245a9c, #8ab8ee)"),
    magenta: present(probe, "light-dark(#8a3f8f, #d6a3dc)"),
    cyan: of("sea"),
    white: present(probe, "light-dark(#5a6661, #e8eeeb)"),
    brightBlack: of("muted"),
    brightRed: of("bad"),
    brightGreen: of("good"),
    brightYellow: of("shell"),
    brightBlue: present(probe, "light-dark(#245a9c, #8ab8ee)"),
    brightMagenta: present(probe, "light-dark(#8a3f8f, #d6a3dc)"),
    brightCyan: of("sea"),
    brightWhite: of("ink"),
  };
  probe.remove();
  return theme;
}

/** Calls `changed` when the page turns light or dark, until the returned function is called. */
export function onThemeChange(changed: () => void): () => void {
  const watcher = new MutationObserver(changed);
  watcher.observe(document.documentElement, { attributeFilter: ["data-theme"] });
  const system = matchMedia("(prefers-color-scheme: dark)");
  system.addEventListener("change", changed);
  return () => {
    watcher.disconnect();
    system.removeEventListener("change", changed);
  };
}
