/** What git tells of changed files, as people think of it. Pure. */
import type { ChangedFile } from "../api/insideTypes.ts";

export type Kind = "conflict" | "changed" | "new" | "deleted" | "renamed";
type Group = { kind: Kind; files: ChangedFile[] };

const CONFLICTS = new Set(["DD", "AU", "UD", "UA", "DU", "AA", "UU"]);

/** Staged or not is all the same: a commit takes the files that are chosen. */
export function kindOf({ index, working_dir: tree }: ChangedFile): Kind {
  if (CONFLICTS.has(index + tree)) return "conflict";
  if (index === "?" || (index === "A" && tree !== "D")) return "new";
  if (tree === "D" || (index === "D" && tree === " ")) return "deleted";
  if (index === "R" || index === "C") return "renamed";
  return "changed";
}

const letters: Record<Kind, string> = { conflict: "!", changed: "M", new: "N", deleted: "D", renamed: "R" };

export const letterOf = (file: ChangedFile) => letters[kindOf(file)];

const ORDER: Kind[] = ["conflict", "changed", "renamed", "new", "deleted"];

export function grouped(files: ChangedFile[]): Group[] {
  return ORDER.map((kind) => ({ kind, files: files.filter((file) => kindOf(file) === kind) })).filter(
    (group) => group.files.length > 0,
  );
}

/** What a commit of these files names: where one was renamed, its old path too. */
export const pathsOf = (files: ChangedFile[]) =>
  files.flatMap(({ path, from }) => (from === undefined ? [path] : [from, path]));

/** The patches of a commit, by file. */
export function patchesOf(patch: string): { path: string; patch: string }[] {
  return `\n${patch}`
    .split("\ndiff --git ")
    .slice(1)
    .map((part) => {
      const told = /^(?:\+\+\+ b\/|rename to )(.*)$/m.exec(part) ?? /^--- a\/(.*)$/m.exec(part);
      const path = told?.[1] ?? /^a\/.* b\/(.*)$/m.exec(part)?.[1] ?? "";
      return { path: path.replace(/\t$/, ""), patch: `diff --git ${part}\n` };
    });
}
