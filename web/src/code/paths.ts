/** Paths relative to the repository, as text: `src/App.tsx`; its own folder is `.`. */
import { ROOT } from "../api/inside.ts";

export const nameOf = (path: string) => path.slice(path.lastIndexOf("/") + 1);

export function parentOf(path: string): string {
  const cut = path.lastIndexOf("/");
  return cut < 0 ? ROOT : path.slice(0, cut);
}

/** The folder of a file for people: nothing for the repository's own. */
export const folderWords = (path: string) => path.slice(0, Math.max(0, path.lastIndexOf("/")));

export const inFolder = (folder: string, name: string) => (folder === ROOT ? name : `${folder}/${name}`);

/** The folders that `path` lies in, the outermost first. */
export function foldersOf(path: string): string[] {
  const parts = path.split("/").slice(0, -1);
  return parts.map((_, index) => parts.slice(0, index + 1).join("/"));
}

export const isWithin = (path: string, folder: string) =>
  path === folder || path.startsWith(`${folder}/`);

/** What `path` is called after `from` became `to`. */
export const afterMove = (path: string, from: string, to: string) =>
  isWithin(path, from) ? to + path.slice(from.length) : path;

/** Why something cannot be called so; null when it can. Slashes lead into folders. */
export function badName(name: string): string | null {
  const parts = name.split("/");
  if (name.trim() === "") return "It needs a name.";
  if (name.includes("\0") || parts.some((part) => part === "" || part === "." || part === "..")) {
    return "A name is no empty part, no dot and no two dots.";
  }
  if (parts.some((part) => new TextEncoder().encode(part).length > 255)) return "It is too long.";
  return parts.includes(".git") ? "What is in .git is git's own." : null;
}
