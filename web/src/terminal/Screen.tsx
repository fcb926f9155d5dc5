import { FitAddon } from "@xterm/addon-fit";
import { WebLinksAddon } from "@xterm/addon-web-links";
import { Terminal } from "@xterm/xterm";
import "@xterm/xterm/css/xterm.css";
import { useEffect, useRef } from "react";
import { coloursOf, onThemeChange } from "./colours.ts";
import { type Connection, TerminalConnection } from "./connection.ts";
import { type Key, typedBy, withCtrl } from "./keys.ts";

/** What the row of keys and the page do with a screen. */
export type ScreenHandle = { press: (key: Key) => void; focus: () => void };

type Props = {
  url: string;
  name: string;
  isThere: () => Promise<boolean>;
  /** The next letter is typed with Ctrl. */
  ctrl: boolean;
  onCtrlUsed: () => void;
  onState: (state: Connection) => void;
  onHandle: (handle: ScreenHandle | null) => void;
  /** The user wants out of the terminal by keyboard. */
  onLeave: () => void;
};

const encoder = new TextEncoder();

/** One terminal in xterm.js, connected for as long as it is shown. */
export function Screen(props: Props) {
  const place = useRef<HTMLDivElement>(null);
  const latest = useRef(props);
  useEffect(() => {
    latest.current = props;
  });

  useEffect(() => {
    const here = place.current;
    if (!here) return;
    const { url, isThere, onHandle, name } = latest.current;
    const terminal = new Terminal({
      fontFamily: '"JetBrains Mono", ui-monospace, Menlo, Consolas, monospace',
      fontSize: 13,
      lineHeight: 1.2,
      cursorBlink: !matchMedia("(prefers-reduced-motion: reduce)").matches,
      minimumContrastRatio: 4.5,
      scrollback: 5000,
      screenReaderMode: true,
      theme: coloursOf(here),
    });
    const fit = new FitAddon();
    terminal.loadAddon(fit);
    terminal.loadAddon(new WebLinksAddon((_, link) => window.open(link, "_blank", "noopener")));
    terminal.open(here);
    terminal.textarea?.setAttribute("aria-label", `${name}: type here. Shift+F6 leaves the terminal.`);
    terminal.attachCustomKeyEventHandler((event) => {
      const leaving = event.key === "F6" && event.shiftKey;
      if (leaving && event.type === "keydown") {
        event.preventDefault();
        latest.current.onLeave();
      }
      return !leaving;
    });

    const connection = new TerminalConnection(
      url,
      {
        onState: (state) => {
          terminal.options.disableStdin = state.kind !== "open" && state.kind !== "connecting";
          if (state.kind === "open") connection.resize(terminal.cols, terminal.rows);
          latest.current.onState(state);
        },
        onAfresh: () => terminal.reset(),
        onOutput: (bytes) => terminal.write(bytes),
      },
      isThere,
    );
    terminal.onData((text) => {
      const { ctrl, onCtrlUsed } = latest.current;
      connection.type(encoder.encode(ctrl ? withCtrl(text) : text));
      if (ctrl) onCtrlUsed();
    });
    terminal.onBinary((text) => {
      connection.type(Uint8Array.from(text, (letter) => letter.charCodeAt(0)));
    });
    terminal.onResize(({ cols, rows }) => connection.resize(cols, rows));
    const sizes = new ResizeObserver(() => {
      if (here.clientWidth > 0 && here.clientHeight > 0) fit.fit();
    });
    sizes.observe(here);
    const unwatch = onThemeChange(() => {
      terminal.options.theme = coloursOf(here);
    });
    onHandle({
      press: (key) => {
        connection.type(encoder.encode(typedBy(key, terminal.modes.applicationCursorKeysMode)));
        terminal.focus();
      },
      focus: () => terminal.focus(),
    });
    fit.fit();
    void connection.run();
    return () => {
      onHandle(null);
      unwatch();
      sizes.disconnect();
      connection.stop();
      terminal.dispose();
    };
  }, []);

  return <div ref={place} className="h-full min-h-0 overflow-hidden" />;
}
