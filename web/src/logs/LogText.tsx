import Anser from "anser";
import { useLayoutEffect, useMemo, useRef } from "react";

const MAX_SHOWN = 60_000;
// Cursor movements and window titles mean nothing in a log; colours do.
// eslint-disable-next-line no-control-regex
const NOT_COLOURS = /\u001b\](?:[^\u0007\u001b]*)(?:\u0007|\u001b\\)|\u001b\[[0-9;?]*[A-LN-Za-ln-z]/g;

/** A log with its colours, scrolled to its end unless the reader went up. */
export function LogText({ text }: { text: string }) {
  const box = useRef<HTMLPreElement>(null);
  const atEnd = useRef(true);
  const parts = useMemo(() => {
    const plain = text.slice(-MAX_SHOWN).replace(NOT_COLOURS, "").replace(/\r\n?/g, "\n");
    return Anser.ansiToJson(plain, { use_classes: true, remove_empty: true });
  }, [text]);
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
      className="h-full overflow-auto bg-sunken p-4 font-mono text-xs leading-relaxed break-words whitespace-pre-wrap"
    >
      {parts.map((part, index) => (
        <span
          // oxlint-disable-next-line react/no-array-index-key -- a log only grows at its end
          key={index}
          className={`${colours[part.fg] ?? ""} ${part.decorations.includes("bold") ? "font-semibold" : ""}`}
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
  "ansi-yellow": "text-warn",
  "ansi-bright-yellow": "text-warn",
  "ansi-blue": "text-sea",
  "ansi-bright-blue": "text-sea",
  "ansi-cyan": "text-sea",
  "ansi-bright-cyan": "text-sea",
  "ansi-bright-black": "text-muted",
};
