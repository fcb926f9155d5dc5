import { useState } from "react";
import { LogText } from "./LogText.tsx";

/** The sandbox's logs, one source at a time. */
export function LogsPane({ logs }: { logs: Record<string, string> }) {
  const sources = Object.keys(logs).toSorted();
  const [chosen, setChosen] = useState("setup");
  const shown = sources.includes(chosen) ? chosen : sources[0];
  if (!shown) {
    return <p className="grid h-full place-items-center p-8 text-muted">Nothing was logged yet.</p>;
  }
  return (
    <div className="flex h-full min-h-0 flex-col">
      <div role="tablist" aria-label="Log sources" className="flex gap-1 border-b border-line p-1.5">
        {sources.map((source) => (
          <button
            key={source}
            type="button"
            role="tab"
            aria-selected={source === shown}
            onClick={() => setChosen(source)}
            className={`rounded-lg px-3 py-1.5 font-mono text-xs ${
              source === shown ? "bg-sunken text-ink" : "text-muted hover:text-ink"
            }`}
          >
            {source}
          </button>
        ))}
      </div>
      <div className="min-h-0 flex-1">
        <LogText key={shown} text={logs[shown] ?? ""} />
      </div>
    </div>
  );
}
