/** The text that `patch` (a unified diff of one file) made `text` of; null when it did not. */
export function unpatched(text: string, patch: string): string | null {
  const now = text.split("\n");
  const before: string[] = [];
  let at = 0;
  let within = false;
  let last = "";
  // Whether the last line has no newline: here, and in the old text.
  let old: boolean | null = null;
  for (const line of patch.replace(/\n$/, "").split("\n")) {
    const hunk = /^@@ -\d+(?:,\d+)? \+(\d+)(?:,(\d+))? @@/.exec(line);
    if (hunk) {
      within = true;
      const count = hunk[2] === undefined ? 1 : Number(hunk[2]);
      const begin = Number(hunk[1]) - (count === 0 ? 0 : 1);
      if (begin < at || begin > now.length) return null;
      before.push(...now.slice(at, begin));
      at = begin;
      continue;
    }
    if (!within) continue;
    const kind = line[0];
    const content = line.slice(1);
    if (kind === "\\") {
      if (last !== "+") old = true;
      continue;
    }
    if (kind === "-") before.push(content);
    else if (kind === "+" || kind === " ") {
      if (now[at] !== content) return null;
      at += 1;
      if (kind === " ") before.push(content);
    }
    last = kind ?? "";
    if (kind !== "+") old = false;
  }
  const rest = now.slice(at);
  if (rest.length > 1 || (rest[0] ?? "") !== "") {
    // The patch does not reach the end, which is then the same in both.
    return [...before, ...rest].join("\n");
  }
  if (old === null) return before.length === 0 ? "" : [...before, ...rest].join("\n");
  return before.length === 0 ? "" : before.join("\n") + (old ? "" : "\n");
}
