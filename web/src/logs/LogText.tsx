import Anser from "anser";
import { useLayoutEffect, useMemo, useRef } from "react";
import { settled } from "./lines.ts";

const MAX_SHOWN = 60_000;

/** A log with its colours, scrolled to its end unless the reader went up. */
export function LogText({ text }: { text: string }) {
  const box = useRef<HTMLPreElement>(null);
  const atEnd = useRef(true);
  const parts = useMemo(
    () =>
      Anser.ansiToJson(settled(text.slice(-MAX_SHOWN)), { use_classes: true, remove_empty: true }),
    [text],
  );
  useLayoutEffect(() => {
    if (box.current && atEnd.current) box.current.scrollTop = box.current.scrollHeight;
  });
  return (
    <pre
      ref={box}
      // oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- a scrolled region is reached by keyboard
      tabIndex={0}
      onScroll={({ currentTarget: at }) => {
        atEnd.current = at.scrollHeight - at.scrollTop - at.clientHeight < 40;
      }}
      className="h-full overflow-auto p-4 font-mono text-xs leading-relaxed break-words whitespace-pre-wrap focus-visible:-outline-offset-2"
    >
      {parts.map((part, index) => (
        <span
          // oxlint-disable-next-line react/no-array-index-key -- a log only grows at its end
          key={index}
          className={`${colours[part.fg] ?? ""} ${part.decorations.includes("bold") ? "font-semibold" : ""} ${
            part.decorations.includes("dim") ? "opacity-70" : ""
          }`}
        >
          {part.content}
        </span>
      ))}
    </pre>
  );
}

const colours: Record<string, string> = {
  "ansi-red": "text-bad",
  "ansi-bright-red": "text-bad",
  "ansi-green": "text-good",
  "ansi-bright-green": "text-good",
  "ansi-yellow": "text-shell",
  "ansi-bright-yellow": "text-shell",
  "ansi-blue": "text-sea",
  "ansi-bright-blue": "text-sea",
  "ansi-cyan": "text-sea",
  "ansi-bright-cyan": "text-sea",
  "ansi-bright-black": "text-muted",
};
