type Hit = { line: number; text: string };
export type Hits = { path: string; hits: Hit[] };

/** What `/grep` found (`path:line:text`, a line each), by file. */
export function byFile(results: string): Hits[] {
  const files: Hits[] = [];
  for (const line of results.split("\n")) {
    const match = /^(.*?):(\d+):(.*)$/.exec(line);
    if (!match) continue;
    const [, path = "", number, text = ""] = match;
    const hit = { line: Number(number), text };
    const last = files.at(-1);
    if (last?.path === path) last.hits.push(hit);
    else files.push({ path, hits: [hit] });
  }
  return files;
}

/** Text as a regular expression that means just that. */
export const literal = (text: string) => text.replaceAll(/[\\^$.*+?()[\]{}|]/g, String.raw`\$&`);

const MAX_SHOWN = 200;
const BEFORE = 60;

/** A line as its parts, every second one found; a long one around the first find. */
export function marked(text: string, pattern: string, ignoreCase: boolean): string[] {
  const found = places(text, pattern, ignoreCase);
  const begin = Math.max(0, (found[0]?.[0] ?? 0) - BEFORE);
  const end = Math.min(text.length, begin + MAX_SHOWN);
  const parts: string[] = [];
  let at = begin;
  for (const [from, to] of found) {
    if (from >= end) break;
    parts.push(text.slice(at, from), text.slice(from, Math.min(to, end)));
    at = Math.min(to, end);
  }
  parts.push(text.slice(at, end));
  if (begin > 0) parts[0] = `…${parts[0] ?? ""}`;
  return parts;
}

function places(text: string, pattern: string, ignoreCase: boolean): [number, number][] {
  try {
    const matches = text.matchAll(new RegExp(pattern, ignoreCase ? "gi" : "g"));
    return Array.from(matches, (match): [number, number] => [match.index, match.index + match[0].length]).filter(
      ([from, to]) => to > from,
    );
  } catch {
    // The daemon's regular expressions are not quite the browser's.
    return [];
  }
}
