import type { DiffLine } from "./diff.ts";

const looks: Record<DiffLine["kind"], string> = {
  same: "text-muted",
  added: "bg-good/12 text-ink",
  removed: "bg-bad/10 text-ink",
  place: "text-muted",
};
const signs: Record<DiffLine["kind"], string> = { same: " ", added: "+", removed: "−", place: "⋯" };
const words: Partial<Record<DiffLine["kind"], string>> = { added: "added: ", removed: "removed: " };

/** How a file changed, line by line. */
export function DiffView({ lines, what }: { lines: DiffLine[]; what: string }) {
  return (
    <figure
      // oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- a scrolled region is reached by keyboard
      tabIndex={0}
      aria-label={what}
      className="max-h-80 overflow-auto py-1.5 font-mono text-xs leading-relaxed focus-visible:-outline-offset-2"
    >
      <div className="w-max min-w-full">
        {lines.map(({ kind, text }, index) => (
          // oxlint-disable-next-line react/no-array-index-key -- a diff does not change
          <div key={index} className={`flex gap-2 px-3 whitespace-pre ${looks[kind]}`}>
            <span aria-hidden="true" className="w-2 shrink-0 select-none">
              {signs[kind]}
            </span>
            {words[kind] && <span className="sr-only">{words[kind]}</span>}
            <span>{text}</span>
          </div>
        ))}
      </div>
    </figure>
  );
}
