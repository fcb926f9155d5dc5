const keys: [string, string][] = [
  ["Alt+P", "open a file by some letters of its path"],
  ["Alt+Shift+F", "search in all files"],
  ["Ctrl+S", "save"],
  ["Ctrl+F", "find in the open file"],
  ["Esc, then Tab", "leave the editor by keyboard"],
];

/** What there is to know where no file is open. */
export function NoFile() {
  return (
    <div className="grid h-full place-items-center overflow-auto p-6">
      <div className="max-w-sm">
        <h2 className="font-display text-xl font-semibold">Choose a file</h2>
        <p className="mt-1 leading-relaxed text-pretty text-muted">
          What you save shows in the preview at once, and the agent sees it too.
        </p>
        <dl className="mt-5 grid grid-cols-[auto_1fr] gap-x-4 gap-y-2 text-sm">
          {keys.map(([key, does]) => (
            <div key={key} className="contents">
              <dt>
                <kbd className="rounded border border-line bg-shore px-1.5 py-0.5 font-mono text-xs">{key}</kbd>
              </dt>
              <dd className="text-muted">{does}</dd>
            </div>
          ))}
        </dl>
      </div>
    </div>
  );
}
