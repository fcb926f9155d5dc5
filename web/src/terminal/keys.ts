/** What the keys of the row below a terminal type, as terminals have it. Pure. */
export type Key = "Escape" | "Tab" | "ArrowUp" | "ArrowDown" | "ArrowRight" | "ArrowLeft";

const ARROWS = { ArrowUp: "A", ArrowDown: "B", ArrowRight: "C", ArrowLeft: "D" };

/** `application`: the program asked for the other kind of arrows. */
export function typedBy(key: Key, application: boolean): string {
  if (key === "Escape") return "\u001B";
  if (key === "Tab") return "\t";
  return `\u001B${application ? "O" : "["}${ARROWS[key]}`;
}

/** What a letter types together with Ctrl; anything else is itself. */
export function withCtrl(text: string): string {
  const [letter = "", ...rest] = text;
  const code = letter.toUpperCase().charCodeAt(0);
  if (rest.length > 0 || Number.isNaN(code)) return text;
  if (code >= 0x40 && code <= 0x5f) return String.fromCharCode(code & 0x1f);
  return letter === " " ? "\0" : letter === "?" ? "\u007F" : text;
}
