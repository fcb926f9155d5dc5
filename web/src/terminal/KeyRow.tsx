import type { Key } from "./keys.ts";

type Props = { ctrl: boolean; onCtrl: () => void; onKey: (key: Key) => void };

const keys: [Key, string, string][] = [
  ["Escape", "Esc", "Esc"],
  ["Tab", "Tab", "Tab"],
  ["ArrowLeft", "←", "Arrow left"],
  ["ArrowUp", "↑", "Arrow up"],
  ["ArrowDown", "↓", "Arrow down"],
  ["ArrowRight", "→", "Arrow right"],
];
const look = "h-11 min-w-11 flex-1 rounded-lg border border-line bg-raised px-2 font-mono text-sm active:bg-sunken";

/** The keys that a phone's keyboard has not. */
export function KeyRow({ ctrl, onCtrl, onKey }: Props) {
  const stay = (event: { preventDefault: () => void }) => event.preventDefault();
  return (
    <fieldset
      aria-label="Keys"
      className="flex min-w-0 shrink-0 gap-1 border-t border-line bg-shore p-1.5 @xl:hidden pointer-coarse:flex"
    >
      <button
        type="button"
        aria-pressed={ctrl}
        // The terminal keeps the focus, and a phone its keyboard.
        onPointerDown={stay}
        onClick={onCtrl}
        className={`${look} ${ctrl ? "border-sea bg-sea-wash text-sea" : ""}`}
      >
        Ctrl
      </button>
      {keys.map(([key, text, name]) => (
        <button key={key} type="button" aria-label={name} onPointerDown={stay} onClick={() => onKey(key)} className={look}>
          {text}
        </button>
      ))}
    </fieldset>
  );
}
