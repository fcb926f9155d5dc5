import { diffLines } from "../chat/diff.ts";
import { DiffView } from "../chat/DiffView.tsx";

/** A file's patch; of what is no text, or only has other rights, it is said. */
export function Patch({ patch, path }: { patch: string; path: string }) {
  const lines = diffLines(patch);
  if (lines.length > 0) return <DiffView lines={lines} what={`How ${path} changed`} />;
  return <p className="px-3 py-2 text-sm text-muted">{without(patch)}</p>;
}

function without(patch: string): string {
  if (/^Binary files/m.test(patch)) return "It is no text.";
  if (/^old mode/m.test(patch)) return "Only its rights changed.";
  if (/^rename from/m.test(patch)) return "Only its name changed.";
  return "It is empty.";
}
