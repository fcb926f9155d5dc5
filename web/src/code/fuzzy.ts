/** How well a path fits what was typed: more is better; null when its letters are not in it. */
export function fit(path: string, typed: string): number | null {
  const sought = typed.toLowerCase().replaceAll(" ", "");
  const text = path.toLowerCase();
  const name = text.lastIndexOf("/") + 1;
  let score = text.slice(name).startsWith(sought) ? 40 : text.slice(name).includes(sought) ? 20 : 0;
  // From the end, so that letters fit the file's own name rather than its folders'.
  let at = text.length;
  let last = -1;
  for (const letter of [...sought].toReversed()) {
    const found = text.lastIndexOf(letter, at - 1);
    if (at <= 0 || found < 0) return null;
    if (found === last - 1) score += 5;
    if (found === 0 || "/._- ".includes(text[found - 1] ?? "")) score += 3;
    if (found >= name) score += 1;
    at = found;
    last = found;
  }
  return score - text.length / 100;
}

/** The paths that fit best, the best first. */
export function best(paths: string[], typed: string, limit = 50): string[] {
  if (typed.trim() === "") return paths.slice(0, limit);
  return paths
    .flatMap((path) => {
      const score = fit(path, typed);
      return score === null ? [] : [{ path, score }];
    })
    .toSorted((one, other) => other.score - one.score || (one.path < other.path ? -1 : 1))
    .slice(0, limit)
    .map(({ path }) => path);
}
