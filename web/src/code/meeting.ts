/** What becomes of an open file when the one on disk is another: nothing is overwritten unseen. */
import type { FileOnDisk } from "../api/insideTypes.ts";

/** The state of a file that an edit grew from; no etag: there was no file. */
export type Base = { text: string; etag: string | null };

export type Meeting =
  /** It is what the edit grew from. */
  | "same"
  /** It was written anew as it was: only its etag is another. */
  | "touched"
  /** Nothing was edited, or both say the same now: the one on disk is shown. */
  | "follow"
  /** Both were changed: somebody has to choose. */
  | "conflict"
  /** It was deleted, or became something that is no text. */
  | "gone";

export function meeting(base: Base, edited: string, disk: FileOnDisk): Meeting {
  if (disk.kind === "missing") return base.etag === null ? "same" : "gone";
  if (disk.kind !== "text") return "gone";
  if (disk.etag === base.etag) return "same";
  if (disk.text === base.text) return "touched";
  return edited === base.text || edited === disk.text ? "follow" : "conflict";
}

/** The one piece in which two texts differ: a place in the old one, and what is there instead. */
export function difference(before: string, after: string) {
  const most = Math.min(before.length, after.length);
  let from = 0;
  while (from < most && before[from] === after[from]) from += 1;
  let tail = 0;
  while (tail < most - from && before.at(-1 - tail) === after.at(-1 - tail)) tail += 1;
  return { from, to: before.length - tail, insert: after.slice(from, after.length - tail) };
}

/** How a text's lines end; one that is not of one mind keeps its odd ends as characters. */
export function lineEnd(text: string): "\r\n" | "\n" {
  const all = text.split("\n").length - 1;
  const both = text.split("\r\n").length - 1;
  const alone = text.split("\r").length - 1 - both;
  return all > 0 && both === all && alone === 0 ? "\r\n" : "\n";
}
