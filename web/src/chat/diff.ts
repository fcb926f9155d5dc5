export type DiffLine = { kind: "same" | "added" | "removed" | "place"; text: string };

/** A unified diff as lines to show, without the names of the files. */
export function diffLines(diff: string): DiffLine[] {
  const lines: DiffLine[] = [];
  let within = false;
  for (const line of diff.replace(/\n$/, "").split("\n")) {
    if (line.startsWith("@@")) {
      within = true;
      const text = line.replace(/^@@.*?@@ ?/, "");
      if (text !== "" || lines.length > 0) lines.push({ kind: "place", text });
    } else if (within && line.startsWith("+")) lines.push({ kind: "added", text: line.slice(1) });
    else if (within && line.startsWith("-")) lines.push({ kind: "removed", text: line.slice(1) });
    else if (within && line.startsWith(" ")) lines.push({ kind: "same", text: line.slice(1) });
    else if (within && line.startsWith("diff ")) within = false;
  }
  return lines;
}

export const counted = (lines: DiffLine[]) => ({
  added: lines.filter(({ kind }) => kind === "added").length,
  removed: lines.filter(({ kind }) => kind === "removed").length,
});
