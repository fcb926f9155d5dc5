/** Which files stand open, in which order. Pure. */
import { afterMove, isWithin } from "./paths.ts";

export const withOpened = (files: string[], path: string) =>
  files.includes(path) ? files : [...files, path];

/** Without `path` (and what is in it), and what is shown then instead of `shown`. */
export function withClosed(files: string[], path: string, shown: string | undefined) {
  const left = files.filter((file) => !isWithin(file, path));
  if (shown === undefined || left.includes(shown)) return { files: left, shown };
  const at = files.indexOf(shown);
  const next =
    files.slice(at + 1).find((file) => left.includes(file)) ??
    files.slice(0, at).findLast((file) => left.includes(file));
  return { files: left, shown: next };
}

export const withMoved = (files: string[], from: string, to: string) => [
  ...new Set(files.map((file) => afterMove(file, from, to))),
];
