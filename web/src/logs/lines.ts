const ESC = "\u001b";
const BEL = "\u0007";
// Cursor movements and window titles mean nothing in a log; colours do.
const TITLES = new RegExp(`${ESC}\\][^${BEL}${ESC}]*(?:${BEL}|${ESC}\\\\)`, "g");
const MOVES = new RegExp(`${ESC}\\[[0-9;?]*[A-LN-Za-ln-z]`, "g");
// A screen is cleared by scrolling it away; in a log that would be a hole.
const CLEARED = new RegExp(`(?:\\r?\\n){3,}(?=${ESC}\\[[0-9;]*[HJf])`, "g");
const COLOURS = new RegExp(`${ESC}\\[[0-9;]*m`, "g");

/** The text as a screen would end up showing it, line by line; its colours stay. */
export function settled(text: string): string {
  return text
    .replace(CLEARED, "\n")
    .replace(TITLES, "")
    .replace(MOVES, "")
    .replaceAll("\r\n", "\n")
    .split("\n")
    .map((line) => line.slice(line.replace(/\r+$/, "").lastIndexOf("\r") + 1).replaceAll("\r", ""))
    .join("\n");
}

/** The lines in which the words are, whatever their case and colours. */
export function linesWith(text: string, words: string): string {
  const sought = words.toLowerCase();
  const found = settled(text)
    .split("\n")
    .filter((line) => line.replace(COLOURS, "").toLowerCase().includes(sought));
  return found.length > 0 ? found.join("\n") : "No line has that.";
}
