/** The rows that a tree of lazily listed folders shows, and what keys do in it. Pure. */
import { ROOT } from "../api/inside.ts";
import type { Listed, ListedEntry } from "../api/insideTypes.ts";
import { inFolder, nameOf, parentOf } from "./paths.ts";

export type Row = {
  path: string;
  name: string;
  depth: number;
  folder: boolean;
  open: boolean;
  /** A link, or something that is no file. */
  note: "link" | "broken" | "other" | null;
  /** Its place among its brothers, from 1, and how many they are. */
  place: number;
  among: number;
};

/** What has been listed so far: a folder's entries, or nothing while they are on their way. */
type Lists = ReadonlyMap<string, Listed | undefined>;

const isFolder = ({ kind, targetKind }: ListedEntry) =>
  kind === "folder" || (kind === "link" && targetKind === "folder");

function noteOf({ kind, targetKind }: ListedEntry): Row["note"] {
  if (kind === "link") return targetKind ? "link" : "broken";
  return kind === "other" ? "other" : null;
}

/** Folders first, each by name as people read: `file2` before `file10`. */
const order = new Intl.Collator("en", { numeric: true, sensitivity: "base" });

export function sorted(entries: ListedEntry[]): ListedEntry[] {
  return entries.toSorted(
    (one, other) =>
      Number(isFolder(other)) - Number(isFolder(one)) ||
      order.compare(one.name, other.name) ||
      (one.name < other.name ? -1 : 1),
  );
}

/** The rows from the top to the bottom; git's own folder is left out. */
export function rowsOf(lists: Lists, open: ReadonlySet<string>, folder = ROOT, depth = 1): Row[] {
  const entries = sorted(lists.get(folder)?.entries ?? []).filter(({ name }) => name !== ".git");
  return entries.flatMap((entry, index) => {
    const path = inFolder(folder, entry.name);
    const row: Row = {
      path,
      name: entry.name,
      depth,
      folder: isFolder(entry),
      open: isFolder(entry) && open.has(path),
      note: noteOf(entry),
      place: index + 1,
      among: entries.length,
    };
    return row.open ? [row, ...rowsOf(lists, open, path, depth + 1)] : [row];
  });
}

type KeyDone =
  | { act: "go"; path: string }
  | { act: "open" | "shut"; path: string }
  | { act: "openAll"; paths: string[] };

/** What a key does on the row at `path`, as the tree pattern of ARIA has it; null: nothing. */
export function keyIn(rows: Row[], path: string, key: string): KeyDone | null {
  const at = rows.findIndex((row) => row.path === path);
  const row = rows[at];
  if (!row) return rows[0] ? { act: "go", path: rows[0].path } : null;
  const to = (index: number): KeyDone | null => {
    const target = rows[index];
    return target && target.path !== path ? { act: "go", path: target.path } : null;
  };
  switch (key) {
    case "ArrowDown":
      return to(at + 1);
    case "ArrowUp":
      return to(at - 1);
    case "Home":
      return to(0);
    case "End":
      return to(rows.length - 1);
    case "ArrowRight":
      if (!row.folder) return null;
      if (!row.open) return { act: "open", path };
      return rows[at + 1] && parentOf(rows[at + 1]?.path ?? "") === path ? to(at + 1) : null;
    case "ArrowLeft":
      if (row.open) return { act: "shut", path };
      return to(rows.findIndex((other) => other.path === parentOf(path)));
    case "*": {
      const brothers = rows.filter(
        (other) => other.folder && !other.open && parentOf(other.path) === parentOf(path),
      );
      return brothers.length > 0 ? { act: "openAll", paths: brothers.map((one) => one.path) } : null;
    }
    default:
      return key.length === 1 && key !== " " ? typed(rows, at, key) : null;
  }
}

/** The next row whose name begins so. */
function typed(rows: Row[], at: number, letter: string): KeyDone | null {
  const sought = letter.toLowerCase();
  const after = [...rows.slice(at + 1), ...rows.slice(0, at)];
  const next = after.find((row) => nameOf(row.path).toLowerCase().startsWith(sought));
  return next ? { act: "go", path: next.path } : null;
}
